"""What a run stands on, and which artifacts do not depend on it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quanary.quantizer.machine import (
    could_saturate,
    cpu_features,
    cpu_limit,
    is_portable_model,
    tool_versions,
)
from quanary.quantizer.recipe import Activations, Approach, Recipe
from quanary.wire.machine import CPU_FEATURES
from tests.quantizer.models import classifier


def test_this_machine_has_an_answer() -> None:
    words = set(Path("/proc/cpuinfo").read_text().split())
    assert set(cpu_features()) == CPU_FEATURES & words
    assert cpu_limit() >= 1


def test_versions_name_what_shapes_an_artifact() -> None:
    assert {"onnx", "onnxruntime", "numpy", "scipy", "python"} <= tool_versions().keys()


@pytest.mark.parametrize(
    ("features", "saturates"),
    [
        ("avx2", True),
        ("avx2 avx512f", True),
        ("avx2 avx_vnni", False),
        ("avx2 avx512f avx512_vnni amx_int8", False),
        ("asimddp i8mm", False),
        ("", False),
    ],
)
def test_bytes_saturate_where_avx_has_no_vnni(features: str, saturates: bool) -> None:
    assert could_saturate(features.split()) == saturates


@pytest.mark.parametrize(
    ("recipe", "portable"),
    [
        (Recipe(), True),
        (Recipe(reduce_range=False), False),
        (Recipe(approach=Approach.DYNAMIC), True),
        (Recipe(approach=Approach.DYNAMIC, reduce_range=False), False),
        (Recipe(activations=Activations.UINT16, reduce_range=False), True),
        (Recipe(approach=Approach.DYNAMIC, activations=Activations.UINT16, reduce_range=False), False),
    ],
)
def test_seven_bit_weights_compute_the_same_everywhere(recipe: Recipe, portable: bool) -> None:
    assert recipe.portable == portable


def test_the_bound_of_seven_bits_is_that_of_the_instruction() -> None:
    # VPMADDUBSW adds two products of an unsigned and a signed byte in 16 bits.
    assert 255 * 64 * 2 <= np.iinfo(np.int16).max < 255 * 65 * 2


@pytest.mark.parametrize(
    ("values", "portable"),
    [([-64, 64], True), ([-64, 65], False), ([-128, 0], False), ([], True)],
)
def test_a_model_from_elsewhere_is_judged_by_its_signed_bytes(values: list[int], portable: bool) -> None:
    model = classifier()
    model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int8), "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([255], np.uint8), "unsigned"))
    assert is_portable_model(model) == portable


def test_signed_bytes_in_constants_and_branches_count() -> None:
    wide = numpy_helper.from_array(np.array([100], np.int8), "c")
    constant = helper.make_node("Constant", [], ["c"], value=wide)
    branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("c", TensorProto.INT8, [1])])
    model = classifier()
    model.graph.node.append(helper.make_node("If", ["scores"], ["d"], then_branch=branch, else_branch=branch))
    assert not is_portable_model(model)


def test_nothing_is_promised_of_bytes_in_another_file() -> None:
    model = classifier()
    tensor = numpy_helper.from_array(np.zeros(1, np.int8), "w")
    onnx.external_data_helper.set_external_data(tensor, "weights.data")
    model.graph.initializer.append(tensor)
    assert not is_portable_model(model)
