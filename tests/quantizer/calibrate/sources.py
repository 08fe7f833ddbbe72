"""Data for calibration made in tests, and how often it was read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto

from quanary.quantizer.calibrate import Calibration, calibrate
from quanary.quantizer.calibrate.calibration import Data
from quanary.quantizer.data import DataSet, Sample, digest_of_data, open_data
from quanary.quantizer.inference import Array, open_model
from tests.quantizer.models import save, save_shards

FIELD = "spec.quantization.calibration.data"


def data_of(folder: Path, model: ModelProto, *shards: dict[str, Array]) -> DataSet:
    """A data set of these shards for that model."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = open_model(save(model, folder / "model.onnx"), "spec.model.uri").inputs
    path = save_shards(folder / "shards", *shards)
    return open_data(path, digest_of_data(path), FIELD, inputs)


def tensors_of(model: ModelProto) -> tuple[str, ...]:
    """Every tensor that a node writes, and the inputs."""
    inputs = [each.name for each in model.graph.input]
    return (*inputs, *(name for node in model.graph.node for name in node.output if name))


def calibrated(
    model: ModelProto,
    data: Data,
    work: Path,
    *,
    cache: Path | None = None,
    limit: int = 1000,
    threads: int = 1,
    tensors: tuple[str, ...] | None = None,
) -> Calibration:
    """Over every tensor."""
    work.mkdir(exist_ok=True)
    wanted = tensors_of(model) if tensors is None else tensors
    return calibrate(model, wanted, data, limit, work, cache=cache, model_sha256="m", threads=threads)


class CountedReads:
    """Data that counts how often it is read, and can fail in one of the readings."""

    def __init__(self, data: DataSet, fail_in: int = 0) -> None:
        self.data, self.fail_in, self.reads = data, fail_in, 0

    @property
    def field(self) -> str:
        return self.data.field

    @property
    def samples(self) -> int:
        return self.data.samples

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        self.reads += 1
        for sample in self.data.read(limit):
            if self.reads == self.fail_in:
                raise KeyboardInterrupt
            yield sample


def reach(sample: Sample) -> float:
    """Largest magnitude of a sample's inputs."""
    return max(float(np.abs(each).max()) for each in sample.feed.values())
