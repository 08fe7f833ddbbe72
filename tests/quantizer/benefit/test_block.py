"""One block: what it times, on what, and what it says."""

import json
import subprocess
import sys
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from quanary.quantizer.benefit import block
from quanary.quantizer.benefit.block import Request, read_feeds, run_block, stack, write_feeds
from quanary.wire.energy import readable_packages
from tests.quantizer.models import classifier, images, model_of, save, weights


def request(tmp_path: Path, *models: Path, batch: int = 1, threads: int = 1, feeds: int = 4) -> Request:
    batch_of_one = [{"image": each[None]} for each in images(feeds, seed=1)]
    write_feeds(batch_of_one, ["image"], tmp_path / "feeds.npz")
    named = {f"model-{index}": str(path) for index, path in enumerate(models)}
    return Request(named, str(tmp_path / "feeds.npz"), ["image"], threads, batch, seconds=0.01)


def test_feeds_of_any_name_and_kind_survive_the_hand_over(tmp_path: Path) -> None:
    names = ["file", "a/b:0", "s.npy"]
    feeds: list[dict[str, np.ndarray[Any, Any]]] = [
        {
            "file": np.full((1, 2), k, np.int64),
            "a/b:0": np.full((), k, np.float16),
            "s.npy": np.array(["ä", "b" * k], np.object_),
        }
        for k in range(3)
    ]
    write_feeds(feeds, names, tmp_path / "f.npz")
    read = read_feeds(tmp_path / "f.npz", names)
    assert len(read) == 3
    for ours, theirs in zip(feeds, read, strict=True):
        assert list(theirs) == names
        assert all(np.array_equal(ours[name], theirs[name]) for name in names)
    assert read_feeds(tmp_path / "f.npz", names, only=2)[0]["file"].tolist() == [[2, 2]]


def test_every_variant_is_timed_as_often_at_both_batch_sizes(tmp_path: Path, source: Path) -> None:
    result = run_block(request(tmp_path, source, source, batch=8))
    assert list(result.timings) == ["1", "8"]
    for variants in result.timings.values():
        assert list(variants) == ["model-0", "model-1"]
        first, second = variants.values()
        assert first.runs == second.runs >= 2
        assert first.cpu_seconds > 0
        assert first.process_seconds > 0
        assert first.wall_seconds > 0
    assert result.batch_missing == ""
    assert result.peak_bytes > 10 << 20


def test_with_several_threads_the_whole_process_is_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["image", "h", "scores"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    wide = save(model_of(nodes, {"w": weights(512, 512, seed=1)}, {"image": ["n", 512]}), tmp_path / "wide.onnx")
    write_feeds([{"image": np.ones((256, 512), np.float32)}], ["image"], tmp_path / "feeds.npz")
    asked = Request({"m": str(wide)}, str(tmp_path / "feeds.npz"), ["image"], 2, 1, 0.05)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)  # what one thread does is not asked
    timing = run_block(asked).timings["1"]["m"]
    assert timing.cpu_seconds == pytest.approx(timing.process_seconds, rel=0.5)


def test_batches_are_made_of_feeds_of_one_shape() -> None:
    feeds = [{"x": np.full((1, size), k)} for k, size in enumerate([2, 2, 3, 2])]
    batches = stack(feeds, 2)
    assert [each["x"][:, 0].tolist() for each in batches] == [[0, 1], [3, 0]]


def test_a_fixed_first_dimension_leaves_batch_1_alone(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["image"], ["scores"])
    fixed = save(model_of([node], {}, {"image": [1, 3, 10, 10]}), tmp_path / "fixed.onnx")
    result = run_block(request(tmp_path, fixed, batch=8))
    assert list(result.timings) == ["1"]
    assert result.batch_missing == "the first dimension of input image is fixed"


def test_a_model_that_breaks_on_batches_is_measured_at_batch_1(tmp_path: Path) -> None:
    shape = {"one": np.array([1, 300], np.int64)}
    node = helper.make_node("Reshape", ["image", "one"], ["scores"])
    model = save(model_of([node], shape, {"image": ["n", 3, 10, 10]}), tmp_path / "reshape.onnx")
    result = run_block(request(tmp_path, model, batch=8))
    assert list(result.timings) == ["1"]
    assert result.batch_missing.startswith("the model refuses it: ")


def test_a_batch_that_takes_too_long_is_left_out(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "BATCH_LIMIT_SECONDS", 0.0)
    assert run_block(request(tmp_path, source, batch=8)).batch_missing == "it would take 0 s a block"


def test_energy_is_that_of_the_package_per_inference(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Steady:
        """A joule a reading."""

        range_microjoules = 10**15
        readings = 0

        def read(self) -> int:
            self.readings += 1
            return self.readings * 1_000_000

    assert run_block(request(tmp_path, source)).timings["1"]["model-0"].joules is None or readable_packages()
    monkeypatch.setattr(block, "readable_packages", lambda: (Steady(),))
    timing = run_block(request(tmp_path, source)).timings["1"]["model-0"]
    assert timing.joules is not None
    assert 0 < timing.joules <= 1  # one a chunk, over the runs of a chunk


def test_as_a_program_it_answers_in_one_line_and_loads_little(tmp_path: Path) -> None:
    model = save(classifier(), tmp_path / "m.onnx")
    code = (
        "import runpy, sys; runpy.run_module('quanary.quantizer.benefit.block', run_name='__main__', alter_sys=True);"
        "print([each for each in ('scipy', 'pydantic', 'onnx') if each in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        input=json.dumps(asdict(request(tmp_path, model))),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "operator"},
    )
    line, loaded = ended.stdout.splitlines()
    assert json.loads(line)["timings"]["1"]["model-0"]["runs"] >= 3
    assert loaded == "[]"
