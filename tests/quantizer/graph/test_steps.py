"""Steps whose cases no whole model shows."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from quanary.quantizer.graph.steps import (
    NormalizationError,
    forget_unused_domains,
    lift_constants,
    name_nodes,
    raise_opset,
)
from tests.quantizer.models import classifier, model_of


def constant(**value: object) -> NodeProto:
    return helper.make_node("Constant", [], ["c"], **value)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (constant(value=numpy_helper.from_array(np.array([1, 2], np.int8))), np.array([1, 2], np.int8)),
        (constant(value_float=1.5), np.array(1.5, np.float32)),
        (constant(value_floats=[1.5, 2]), np.array([1.5, 2], np.float32)),
        (constant(value_int=7), np.array(7, np.int64)),
        (constant(value_ints=[7, 8]), np.array([7, 8], np.int64)),
    ],
)
def test_a_constant_is_lifted_whichever_way_it_is_given(node: NodeProto, value: npt.NDArray[Any]) -> None:
    model = model_of([node, helper.make_node("Relu", ["x"], ["scores"])], {}, {"x": [3]})
    lift_constants(model, [])
    assert [each.op_type for each in model.graph.node] == ["Relu"]
    lifted = numpy_helper.to_array(model.graph.initializer[0])
    assert lifted.dtype == value.dtype
    assert np.array_equal(lifted, value)


def test_a_constant_of_text_stays() -> None:
    model = model_of([constant(value_string="text"), helper.make_node("Relu", ["x"], ["scores"])], {}, {"x": [3]})
    steps: list[str] = []
    lift_constants(model, steps)
    assert [each.op_type for each in model.graph.node] == ["Constant", "Relu"]
    assert steps == []


def test_a_name_given_twice_is_given_once() -> None:
    model = classifier()
    for node in model.graph.node[:3]:
        node.name = "same"
    steps: list[str] = []
    name_nodes(model, steps)
    assert [node.name for node in model.graph.node[:3]] == ["same", "same_", "same__"]
    assert "renamed 2 nodes with another's name" in steps


def test_operator_sets_that_nobody_uses_are_forgotten() -> None:
    model = classifier()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.opset_import.append(helper.make_opsetid("ai.onnx.training", 1))
    model.graph.node[1].domain = "com.microsoft"
    forget_unused_domains(model)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17), ("com.microsoft", 1)]


@pytest.mark.parametrize(("found", "target", "kept"), [(15, 17, True), (11, 17, False), (15, 21, False)])
def test_what_cannot_be_converted_is_kept_if_it_will_do(
    monkeypatch: pytest.MonkeyPatch, found: int, target: int, kept: bool
) -> None:
    def unable(*_: object) -> None:
        raise RuntimeError("no adapter for Foo\nand more")

    monkeypatch.setattr(onnx.version_converter, "convert_version", unable)
    model, steps = classifier(found), []  # type: ignore[var-annotated]
    if kept:
        assert raise_opset(model, target, steps) is model
        assert steps == [f"kept opset {found}, that cannot be converted: no adapter for Foo"]
    else:
        with pytest.raises(NormalizationError, match=f"opset {found} cannot be converted to {target}: no adapter"):
            raise_opset(model, target, steps)
