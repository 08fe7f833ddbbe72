"""ONNX Runtime's histogram calibration keeps every activation of every sample: 11 MiB more with each of this size."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from quanary.quantizer.calibrate.memory import peak_bytes
from tests.quantizer.models import model_of, save, weights

SHAPE = (3, 48, 192)  # 110 KB a sample
PER_SHARD = 10
SAMPLES = 400


def convolutions() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "stem", kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "body", kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["scores"]),
    ]
    initializers = {"w1": weights(16, 3, 3, 3, seed=1), "w2": weights(16, 16, 3, 3, seed=2)}
    return model_of(nodes, initializers, {"image": ["n", *SHAPE]})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = np.random.default_rng(5)
    folder = tmp_path / "data"
    folder.mkdir()
    for shard in range(SAMPLES // PER_SHARD):
        np.savez(folder / f"{shard:03}.npz", image=draw.standard_normal((PER_SHARD, *SHAPE), np.float32))
    return folder


def test_peak_memory_does_not_follow_the_number_of_samples(tmp_path: Path, data: Path) -> None:
    model = save(convolutions(), tmp_path / "model.onnx")
    few, many = (peak_bytes(model, data, samples) for samples in (50, SAMPLES))
    assert 50 << 20 < few < 1 << 30
    assert many / few < 1.05
