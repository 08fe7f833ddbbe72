"""Real models come through whole: normalised, and proven equal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from quanary.quantizer.graph import CORE, rebuild
from quanary.wire.report import RefusedError
from tests.quantizer.real_models import CLS, MAGIKA, REC, VAD, VAD_IN_BRANCHES, RealModel

Feed = dict[str, npt.NDArray[Any]]


def feeds(seed: int, make: Callable[[np.random.Generator], Feed]) -> list[tuple[str, Feed]]:
    draw = np.random.default_rng(seed)
    return [(f"sample {index}", make(draw)) for index in range(3)]


def file_bytes(draw: np.random.Generator) -> Feed:
    return {"bytes": draw.integers(0, 257, (1, 2048)).astype(np.int32)}


def speech(draw: np.random.Generator) -> Feed:
    state = np.zeros((1, 1, 128), np.float32)
    frames = draw.standard_normal((int(draw.integers(1, 5)), 576)).astype(np.float32) * 0.1
    return {"input": frames, "h": state, "c": state}


def line_of_text(draw: np.random.Generator) -> Feed:
    width = int(draw.integers(10, 40)) * 8
    return {"x": draw.uniform(-1, 1, (1, 3, 48, width)).astype(np.float32)}


def rotated_line(draw: np.random.Generator) -> Feed:
    return {"x": draw.uniform(-1, 1, (1, 3, 48, 192)).astype(np.float32)}


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize(
    ("model", "make", "core"),
    [(MAGIKA, file_bytes, 3), (VAD, speech, 6), (CLS, rotated_line, 54), (REC, line_of_text, 51)],
    ids=["magika", "vad", "cls", "rec"],
)
def test_a_real_model_is_normalised_and_equal(
    tmp_path: Path,
    model: RealModel,
    make: Callable[[np.random.Generator], Feed],
    core: int,
    opset: int,
) -> None:
    request = rebuild.Request(model.path(), tmp_path / "normalized.onnx", opset, feeds(1, make))
    result = rebuild.rebuild(request)
    assert result["opset"] == opset
    assert result["largest_difference"] < 1e-4
    assert result["core_in_subgraphs"] == 0
    graph = onnx.load(request.to).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert not {"Constant", "Identity"} & {node.op_type for node in graph.node}
    assert sum(node.op_type in CORE for node in graph.node) == core


def test_a_network_in_branches_on_an_input_is_refused_with_that_input(tmp_path: Path) -> None:
    feed = speech(np.random.default_rng(1))
    sample = {"input": feed["input"][:1], "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)}
    request = rebuild.Request(VAD_IN_BRANCHES.path(), tmp_path / "normalized.onnx", 17, [("sample 0", sample)])
    with pytest.raises(RefusedError) as caught:
        rebuild.rebuild(request)
    refusal = caught.value.refusal
    assert "12 in branches and loops (If If_0, that depends on the input sr)" in refusal.found
    assert "export with sr fixed to one value" in refusal.allowed
