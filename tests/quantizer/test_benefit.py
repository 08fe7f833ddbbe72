from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from quanary.quantizer import benefit
from quanary.quantizer.benefit import BLOCKS, measure
from tests.quantizer.models import model_of, save, weights


def dense(layers: int, path: Path) -> Path:
    names = ["x", *(f"h{index}" for index in range(1, layers)), "scores"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    return save(model_of(nodes, {"w": weights(256, 256, seed=1)}, {"x": ["n", 256]}), path)


def test_a_model_of_twelve_times_the_work_is_measured_as_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benefit, "BLOCK_SECONDS", 0.02)
    large, small = dense(24, tmp_path / "large.onnx"), dense(2, tmp_path / "small.onnx")
    figures = measure(large, small, [{"x": np.ones((64, 256), np.float32)}], threads=1, min_speedup=1.1)
    assert figures.latency_ratio == figures.float_seconds / figures.int8_seconds
    assert figures.latency_ratio > 2
    assert len(figures.block_ratios) == BLOCKS
    assert measure(small, large, [{"x": np.ones((64, 256), np.float32)}], 1, 1.1).latency_ratio < 0.5
