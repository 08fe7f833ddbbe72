"""The ladder: which rung bears which graph."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnxruntime.tools import symbolic_shape_infer

from quanary.quantizer.graph import shapes
from quanary.quantizer.graph.shapes import LADDER, climb
from quanary.quantizer.graph.steps import NormalizationError
from tests.quantizer.graph.rebuilding import graph_of, rebuilt
from tests.quantizer.models import classifier, model_of, weights

PLAIN, SYMBOLIC, MERGED, PARTIAL, UNFOLDED = LADDER


def with_runtime_operator() -> ModelProto:
    """Gelu of ONNX Runtime's own operator set, whose output ONNX's inference does not know."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Gelu", ["m"], ["g"], "act", domain="com.microsoft"),
        helper.make_node("Neg", ["g"], ["scores"], "minus"),
    ]
    model = model_of(nodes, {"w": weights(3, 4, seed=1)}, {"x": ["n", 3]})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def test_a_plain_graph_needs_no_more_than_the_first_rung(tmp_path: Path) -> None:
    assert PLAIN.text in rebuilt(classifier(), tmp_path)["steps"]


def test_types_that_onnx_does_not_know_are_found_by_the_second(tmp_path: Path) -> None:
    with pytest.raises(NormalizationError, match="tensors of unknown type, g first"):
        climb(with_runtime_operator(), PLAIN, tmp_path)
    feeds = [("sample 0", {"x": np.ones((2, 3), np.float32)})]
    result = rebuilt(with_runtime_operator(), tmp_path, feeds=feeds)
    assert SYMBOLIC.text in result["steps"]


def test_a_symbolic_inference_that_does_not_end_is_left_for_the_next_rung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*_: object) -> None:
        while True:
            pass

    monkeypatch.setattr(shapes, "SYMBOLIC_SECONDS", 1)
    monkeypatch.setattr(symbolic_shape_infer.SymbolicShapeInference, "infer_shapes", endless)
    feeds = [("sample 0", {"x": np.ones((2, 3), np.float32)})]
    assert PARTIAL.text in rebuilt(with_runtime_operator(), tmp_path, feeds=feeds)["steps"]


def test_an_optimiser_that_fails_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(shapes, "_optimize", broken)
    result = rebuilt(classifier(), tmp_path)
    assert UNFOLDED.text in result["steps"]
    assert "Gemm" not in {node.op_type for node in graph_of(tmp_path).node}
