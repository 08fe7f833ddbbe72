"""A graph through normalisation and calibration, as far as making needs it."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from quanary.quantizer.calibrate import calibrate
from quanary.quantizer.data import DataSet
from quanary.quantizer.graph import normalize
from quanary.quantizer.inference import open_model
from quanary.quantizer.making import make, tensors_for
from quanary.quantizer.recipe import Method, Recipe, Scope
from tests.quantizer.models import save


@dataclass(frozen=True)
class Bench:
    """What `make` takes besides a recipe."""

    source: Path
    normalized: Path
    bounds: dict[str, tuple[float, float]]
    work: Path

    def make(self, recipe: Recipe) -> Path:
        return make(self.normalized, recipe, self.bounds, self.work)

    def made(self, recipe: Recipe) -> ModelProto:
        return onnx.load(self.make(recipe))


def bench_for(model: ModelProto, data: DataSet, folder: Path, opset: int = 17) -> Bench:
    folder.mkdir(exist_ok=True)
    source = save(model, folder / "model.onnx")
    normalized = normalize(open_model(source, "f"), folder, list(data.read(4)), opset).path
    graph = onnx.load(normalized)
    calibration = calibrate(graph, tensors_for(graph, Scope.ALL), data, 100, folder, cache=None, model_sha256="")
    return Bench(source, normalized, calibration.bounds(Method.MIN_MAX), folder)
