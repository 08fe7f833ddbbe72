"""Real models: one whose INT8 is slower on every CPU, and one whose INT8 is faster on every CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from typing_extensions import override

from quanary.quantizer.benefit import blocks, measure
from quanary.quantizer.benefit.decide import Benefit, decide
from quanary.wire.report import BenefitFigures
from tests.quantizer.real_models import CLS, VAD

Feed = dict[str, np.ndarray[Any, Any]]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds as ONNX Runtime's calibrator wants them."""

    def __init__(self, feeds: list[Feed]) -> None:
        self.feeds: Iterator[Feed] = iter(feeds)

    @override
    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.05)


def measured(float_path: Path, int8_path: Path, feeds: list[Feed], work: Path) -> BenefitFigures:
    return measure(
        float_path, int8_path, feeds, threads=1, batch=2, min_speedup=1.1, min_size_reduction=0.25, work=work
    )


def test_convolutions_quantized_at_run_time_are_slower(tmp_path: Path) -> None:
    int8 = tmp_path / "int8.onnx"
    quantize_dynamic(CLS.path(), int8, weight_type=QuantType.QUInt8)
    lines = np.random.default_rng(1).uniform(-1, 1, (4, 1, 3, 48, 192)).astype(np.float32)
    figures = measured(CLS.path(), int8, [{"x": each} for each in lines], tmp_path)
    assert decide(figures) == Benefit(faster=False, smaller=False)  # its weights are constants of the graph
    assert [each.batch for each in figures.batches] == [1, 2]
    assert all(each.interval.high < 1 for each in figures.batches)


def test_static_convolutions_of_speech_detection_are_faster(tmp_path: Path) -> None:
    draw, state = np.random.default_rng(2), np.zeros((1, 1, 128), np.float32)
    feeds = [{"input": draw.normal(0, 0.1, (64, 576)).astype(np.float32), "h": state, "c": state} for _ in range(4)]
    int8 = tmp_path / "int8.onnx"
    quantize_static(
        VAD.path(),
        int8,
        Reader(feeds),
        op_types_to_quantize=["Conv"],
        activation_type=QuantType.QUInt8,
        per_channel=True,
        reduce_range=True,
    )
    figures = measured(VAD.path(), int8, feeds, tmp_path)
    assert decide(figures) == Benefit(faster=True, smaller=True)
    assert [each.batch for each in figures.batches] == [1]  # its state has room for one
