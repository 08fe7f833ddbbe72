"""Blocks until they decide."""

import math
import os
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from typing_extensions import override

import quanary.quantizer.benefit
from quanary.quantizer.benefit import blocks
from quanary.quantizer.benefit.block import Request, Result, Timing, read_feeds, write_feeds
from quanary.quantizer.benefit.decide import LOOKS, Benefit, decide
from quanary.quantizer.progress import Progress
from quanary.wire.report import BenefitFigures, RefusedError
from tests.quantizer.models import model_of, save, weights

FEEDS = [{"x": np.full((2, 256), k, np.float32)} for k in range(3)]


def dense(layers: int, path: Path) -> Path:
    names = ["x", *(f"h{index}" for index in range(1, layers)), "scores"]
    nodes = [helper.make_node("MatMul", [a, f"w{b}"], [b]) for a, b in pairwise(names)]
    stored = {f"w{name}": weights(256, 256, seed=index) for index, name in enumerate(names[1:])}
    return save(model_of(nodes, stored, {"x": ["n", 256]}), path)


def measure(float_path: Path, int8_path: Path, work: Path, batch: int = 4) -> BenefitFigures:
    return quanary.quantizer.benefit.measure(
        float_path,
        int8_path,
        FEEDS,
        threads=1,
        batch=batch,
        min_speedup=1.1,
        min_size_reduction=0.25,
        work=work,
        progress=Progress(1),
    )


def test_a_twelfth_of_the_work_is_faster_smaller_and_leaner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.02)
    large, small = dense(48, tmp_path / "large.onnx"), dense(4, tmp_path / "small.onnx")
    figures = measure(large, small, tmp_path)
    assert decide(figures) == Benefit(faster=True, smaller=True)
    assert [each.batch for each in figures.batches] == [1, 4]
    for each in figures.batches:
        assert each.interval.low <= each.ratio <= each.interval.high
        assert len(each.block_ratios) == figures.blocks
        assert each.wall_ratio > 2
    assert figures.latency_ratio == figures.batches[0].ratio > 2
    assert figures.size_ratio == pytest.approx(4 / 48, rel=0.1)
    assert figures.memory_ratio < 1
    assert figures.cpu_seconds_float > 2 * figures.cpu_seconds_int8 > 0
    assert LOOKS[figures.looks - 1] == figures.blocks
    assert not (tmp_path / "benefit.npz").exists()
    assert "blocks:" in capsys.readouterr().err


class Blocks:
    """Stands where processes would: block after block has the given ratio."""

    def __init__(self, *ratios: float, missing: str = "") -> None:
        self.ratios = ratios
        self.missing = missing
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Result:
        if len(request.models) == 1:
            return Result({}, "", {"float": 200, "int8": 100}[next(iter(request.models))])
        ratio = self.ratios[len(self.requests) % len(self.ratios)]
        self.requests.append(request)
        timings = {
            "float": Timing(ratio, ratio / 2, 3 * ratio, None, 9),
            "int8": Timing(1.0, 1.0, 3.0, 0.5, 9),
        }
        return Result({"1": timings} | ({} if self.missing else {"8": timings}), self.missing, 0)


def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Blocks) -> BenefitFigures:
    monkeypatch.setattr(blocks, "run", stand_in)
    return measure(dense(4, tmp_path / "float.onnx"), dense(1, tmp_path / "int8.onnx"), tmp_path, batch=8)


@pytest.mark.parametrize(
    ("ratios", "count", "faster"),
    [
        ((1.5, 1.52), 5, True),
        ((0.7, 0.72), 5, False),
        ((1.1, 1.3), 10, True),
        ((1.05, 1.35, 1.05, 1.35, 1.05, 1.05, 1.35), 15, None),
    ],
)
def test_it_stops_at_the_first_look_that_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratios: tuple[float, ...], count: int, faster: bool | None
) -> None:
    stand_in = Blocks(*ratios)
    figures = measured(tmp_path, monkeypatch, stand_in)
    assert figures.blocks == len(stand_in.requests) == count
    assert figures.looks == LOOKS.index(count) + 1
    assert decide(figures).faster is faster
    orders = [tuple(each.models) for each in stand_in.requests]
    assert orders[:3] == [("float", "int8"), ("int8", "float"), ("float", "int8")]


def test_figures_follow_from_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = measured(tmp_path, monkeypatch, Blocks(1.6, 1.44, 1.5))
    assert figures.latency_ratio == pytest.approx(math.prod((1.6, 1.44, 1.5, 1.6, 1.44)) ** 0.2)
    assert figures.batches[0].float_seconds == 1.5
    assert figures.batches[0].wall_ratio == pytest.approx(figures.latency_ratio / 2)
    assert (figures.cpu_seconds_float, figures.cpu_seconds_int8) == (4.5, 3.0)
    assert (figures.joules_float, figures.joules_int8) == (None, 0.5)
    assert figures.size_ratio == pytest.approx(0.25, rel=0.01)
    assert figures.memory_ratio == 0.5
    assert [each.batch for each in figures.batches] == [1, 8]


def test_weights_in_a_file_beside_the_model_are_part_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "run", Blocks(1.5, 1.6))
    whole, split = dense(2, tmp_path / "whole.onnx"), tmp_path / "split.onnx"
    onnx.save(onnx.load(whole), split, save_as_external_data=True, location="split.data")
    assert split.stat().st_size < whole.stat().st_size / 10
    assert measure(whole, split, tmp_path).size_ratio == pytest.approx(1, rel=0.01)


def test_a_missing_batch_is_said_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = measured(tmp_path, monkeypatch, Blocks(1.5, 1.6, missing="the first dimension of input h is fixed"))
    assert [each.batch for each in figures.batches] == [1]
    assert "batch 8 is not measured: the first dimension of input h is fixed" in capsys.readouterr().err


def test_memory_is_measured_with_the_largest_feed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[Request] = []

    class Watched(Blocks):
        @override
        def __call__(self, request: Request) -> Result:
            if len(request.models) == 1:
                alone.append(request)
                assert read_feeds(Path(request.feeds), request.inputs, request.only)[0]["x"].shape == (9, 256)
            return super().__call__(request)

    monkeypatch.setitem(FEEDS[1], "x", np.zeros((9, 256), np.float32))
    measured(tmp_path, monkeypatch, Watched(1.5, 1.6))
    assert [list(each.models) for each in alone] == [["float"], ["int8"]]


def broken(tmp_path: Path, model: Path) -> Request:
    write_feeds(FEEDS, ["x"], tmp_path / "feeds.npz")
    return Request({"float": str(model)}, str(tmp_path / "feeds.npz"), ["x"], 1, 1, 0.01)


def test_a_block_that_fails_is_refused_with_its_last_words(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    with pytest.raises(RefusedError) as caught:
        blocks.run(broken(tmp_path, model))
    assert caught.value.refusal.field == "spec.model.uri"
    assert "model.onnx that failed in a fresh process: exit code 1: " in caught.value.refusal.found
    assert "InvalidProtobuf" in caught.value.refusal.found


def test_a_block_that_hangs_is_ended_at_its_deadline(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    os.mkfifo(model)  # whoever reads it waits for a writer that never comes
    with pytest.raises(RefusedError, match=r"spec\.runtime\.resources\.cpu: .*longer than 3 s"):
        blocks.run(broken(tmp_path, model), limit_seconds=3)


@pytest.mark.parametrize(
    ("signal", "field", "words"),
    [
        ("SIGKILL", "spec.runtime.resources.memory", "killed, most likely for its memory"),
        ("SIGSEGV", "spec.model.uri", "failed in a fresh process: SIGSEGV"),
    ],
)
def test_a_block_that_is_killed_is_told_from_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: str, field: str, words: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, signal\nos.kill(os.getpid(), signal.{signal})\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(RefusedError) as caught:
        blocks.run(broken(tmp_path, tmp_path / "model.onnx"))
    assert caught.value.refusal.field == field
    assert words in caught.value.refusal.found


def test_nothing_else_is_offered_by_the_package() -> None:
    with pytest.raises(AttributeError, match="'mesure'"):
        getattr(quanary.quantizer.benefit, "mesure")  # noqa: B009 - mypy knows that it is not there
