"""What counts as equal, and what does not."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from quanary.quantizer.graph.equality import largest_difference
from quanary.quantizer.graph.steps import NormalizationError
from quanary.quantizer.inference import open_model
from quanary.wire.report import RefusedError
from tests.quantizer.models import Floats, model_of, save

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def scaled(factor: Floats | float) -> ModelProto:
    return model_of([helper.make_node("Mul", ["x", "f"], ["scores"])], {"f": np.float32(factor)}, {"x": ["n", 3]})


def ranked(factor: list[float]) -> ModelProto:
    nodes = [helper.make_node("Mul", ["x", "f"], ["m"]), helper.make_node("ArgMax", ["m"], ["scores"], axis=1)]
    model = model_of(nodes, {"f": np.array(factor, np.float32)}, {"x": ["n", 3]})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


def difference(one: ModelProto, other: ModelProto, folder: Path, x: Floats = X) -> float:
    source = open_model(save(one, folder / "one.onnx"), "spec.model.uri")
    return largest_difference(source, save(other, folder / "other.onnx"), [("sample 7", {"x": x})])


def test_the_largest_difference_is_reported(tmp_path: Path) -> None:
    assert difference(scaled(1), scaled(1), tmp_path) == 0
    assert difference(scaled(1), scaled(1.0001), tmp_path) == pytest.approx(3e-4, rel=0.01)


def test_a_difference_beyond_another_order_of_sums_is_none(tmp_path: Path) -> None:
    with pytest.raises(NormalizationError, match="outputs differ on sample 7"):
        difference(scaled(1), scaled(1.01), tmp_path)


def test_what_is_no_number_in_both_is_equal_and_in_one_is_not(tmp_path: Path) -> None:
    x = np.array([[np.nan, np.inf, 1]], np.float32)
    assert difference(scaled(1), scaled(1), tmp_path, x) == 0
    with pytest.raises(NormalizationError):
        difference(scaled(1), scaled(np.nan), tmp_path)


def test_whole_numbers_must_be_the_same(tmp_path: Path) -> None:
    assert difference(ranked([1, 1, 1]), ranked([1, 1, 1.5]), tmp_path) == 0
    with pytest.raises(NormalizationError, match="outputs differ on sample 7"):
        difference(ranked([1, 1, 1]), ranked([9, 1, 1]), tmp_path)


def test_a_sample_that_the_source_rejects_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"sample 7: the model rejects it"):
        difference(scaled(1), scaled(1), tmp_path, np.ones((1, 4), np.float32))
