"""A searched model small enough for many searches, with one layer that INT8 ruins; and a search in a process."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from quanary.quantizer.calibrate import calibrate
from quanary.quantizer.certify.metrics import open_metric
from quanary.quantizer.data import DataSet, digest_of_data, open_data
from quanary.quantizer.graph import normalize
from quanary.quantizer.inference import open_model
from quanary.quantizer.making import tensors_for
from quanary.quantizer.recipe import Scope
from quanary.quantizer.search import Found, Subject, search
from quanary.wire.launch import QuantizeArguments
from tests.quantizer.models import CLASSES, SIDE, Floats, images, model_of, save, save_shards, weights

LAYERS = 4
WIDTH = 16
POISONED = "conv2"


def poisoned(layer: str = POISONED) -> ModelProto:
    """Conv after Conv. In one of them each channel has one weight a thousand times the others, for an input that is
    always zero: in float it does nothing, in INT8 its scale makes nothing of the others.
    """
    nodes: list[NodeProto] = []
    initializers: dict[str, npt.NDArray[Any]] = {}
    name, width = "image", 3
    for index in range(LAYERS):
        initializers |= _layer(index, width, layer)
        inputs = [name, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{index}"], f"conv{index}", pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
        name, width = f"r{index}", WIDTH
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"], "pool"))
    nodes.append(helper.make_node("Conv", ["pooled", "head", "bias"], ["mapped"], "head"))
    nodes.append(helper.make_node("Flatten", ["mapped"], ["scores"], "flat"))
    initializers |= {"head": weights(CLASSES, WIDTH, 1, 1, seed=50, scale=3), "bias": np.zeros(CLASSES, np.float32)}
    # Centred scores, so that inputs fall into different classes.
    scores = ReferenceEvaluator(_model(nodes, initializers)).run(None, {"image": images(50, seed=6)})[0]
    initializers["bias"] = -np.asarray(scores, np.float32).mean(axis=0)
    return _model(nodes, initializers)


def _layer(index: int, width: int, poisoned: str) -> dict[str, npt.NDArray[Any]]:
    kernel = weights(WIDTH, width, 3, 3, seed=index, scale=float(np.sqrt(2 / (9 * width))))
    bias = weights(WIDTH, seed=100 + index, scale=0.1)
    if f"conv{index}" == poisoned:
        kernel[:, 0, 1, 1] = 1000.0
    if f"conv{index + 1}" == poisoned:
        kernel[0], bias[0] = 0.0, 0.0  # what the large weights are for is always zero
    return {f"w{index}": kernel, f"b{index}": bias}


def _model(nodes: list[NodeProto], initializers: dict[str, npt.NDArray[Any]]) -> ModelProto:
    return model_of(nodes, initializers, {"image": ["n", 3, SIDE, SIDE]})


@dataclass(frozen=True)
class Scene:
    """What a search needs, in a folder."""

    folder: Path

    @property
    def data(self) -> DataSet:
        folder, model = self.folder / "data", open_model(self.folder / "model.onnx", "f")
        return open_data(folder, digest_of_data(folder), "spec.quantization.calibration.data", model.inputs)

    def prepare(self, model: ModelProto, batch: Floats | None = None) -> "Scene":
        save(model, self.folder / "model.onnx")
        save_shards(self.folder / "data", {"image": images(120, seed=7) if batch is None else batch})
        normalize(open_model(self.folder / "model.onnx", "f"), self.folder, list(self.data.read(4)))
        return self

    def subject(self) -> Subject:
        normalized = self.folder / "normalized.onnx"
        graph = onnx.load(normalized)
        tensors = tensors_for(graph, Scope.ALL)
        data = self.data
        calibration = calibrate(graph, tensors, data, 40, self.folder, cache=None, model_sha256="")
        model = open_model(self.folder / "model.onnx", "f")
        return Subject(model, normalized, self.wide, calibration.bounds, data, calibration.key)

    def wide(self) -> Path:
        raise AssertionError("no candidate of these searches has 16-bit activations")

    def search(self, cache: Path, *, other_key: bool = False, **choices: Any) -> Found:
        subject = self.subject()
        if other_key:
            subject = replace(subject, key="of something else")
        work = cache / "work"
        work.mkdir(parents=True, exist_ok=True)
        return search(subject, arguments(**choices), open_metric("agreement"), work, cache=cache)


def arguments(**choices: Any) -> QuantizeArguments:
    """Of a search whose outcome does not hang on how fast this machine is."""
    given: dict[str, Any] = {
        "max_drop": 0.02,
        "objective": "size",
        "activations": "uint8",
        "method": "minmax",
        # What is worth certifying is told by its size alone.
        "min_speedup": 100.0,
        "min_size_reduction": 0.05,
    } | choices
    return QuantizeArguments(model="model.onnx", validation="sealed", out="out", **given)


def start(folder: Path, cache: Path, max_drop: str) -> subprocess.Popen[bytes]:
    """The same search in another process."""
    program = "import sys; from tests.quantizer.search.scene import main; main(*sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", program, str(folder), str(cache), max_drop], env=environment)


def main(folder: str, cache: str, max_drop: str) -> None:
    Scene(Path(folder)).search(Path(cache), max_drop=float(max_drop))


def journalled(cache: Path) -> list[bytes]:
    return [line for path in cache.glob("search-*.jsonl") for line in path.read_bytes().splitlines()]
