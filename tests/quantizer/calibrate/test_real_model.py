"""A real speech detector on recorded speech: nothing clean is left out, one wild frame is, and ranges stay sane."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from e2e.demo import download, speech
from quanary.quantizer.calibrate import judge_held_out
from quanary.quantizer.calibrate.collect import find_ranges, open_observer
from quanary.quantizer.calibrate.drift import count
from quanary.quantizer.calibrate.outliers import judge
from quanary.quantizer.data import DataSet
from quanary.quantizer.inference import Array, open_model
from quanary.quantizer.recipe import Method
from quanary.wire.drift import psi
from tests.quantizer.calibrate.sources import calibrated, data_of, tensors_of
from tests.quantizer.real_models import VAD

CLIPS, FRAMES = 24, 12  # of each clip, evenly spread
WILD = 100


@pytest.fixture(scope="module")
def frames() -> dict[str, Array]:
    """Frames of recorded prompts with the state that the model had reached there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanary" / "demo" / "downloads"
    model = open_model(VAD.path(), "spec.model.uri")
    rows: list[dict[str, Array]] = []
    for clip in speech.read_clips(download.speech(cache))[:CLIPS]:
        state = {"h": np.zeros(speech.STATE, np.float32), "c": np.zeros(speech.STATE, np.float32)}
        stream = []
        for frame in speech.frames(clip):
            stream.append({"input": frame} | state)
            _, state["h"], state["c"] = model.run(stream[-1])
            state = dict(state)
        rows += stream[:: max(1, len(stream) // FRAMES)][:FRAMES]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def data(frames: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return data_of(tmp_path_factory.mktemp("vad"), onnx.load(VAD.path()), frames)


def test_nothing_of_real_speech_is_left_out(tmp_path: Path, data: DataSet) -> None:
    found = calibrated(onnx.load(VAD.path()), data, tmp_path, cache=tmp_path / "cache")
    assert found.excluded == ()
    assert found.warnings == ()
    assert found.used == data.samples > 200
    for method in Method:
        bounds, clipped = found.bounds(method), found.clipped(method)
        assert all(low <= 0 <= high for low, high in bounds.values())
        assert max(clipped.values()) < 0.05
    again = calibrated(onnx.load(VAD.path()), data, tmp_path, cache=tmp_path / "cache")
    assert again.from_cache
    assert {method: again.bounds(method) for method in Method} == {method: found.bounds(method) for method in Method}


def test_nothing_of_small_sets_of_real_speech_is_left_out_either(tmp_path: Path, data: DataSet) -> None:
    """Most frames of few may be silence: speech among them must not look wild."""
    model = onnx.load(VAD.path())
    seen = find_ranges(open_observer(model, tensors_of(model), tmp_path, "f"), data.read())
    reach = np.maximum(np.abs(seen.lows), np.abs(seen.highs))
    draw = np.random.default_rng(4)
    for size in (8, 11, 20, 50):
        for _ in range(50):
            some = reach[draw.choice(len(reach), size, replace=False)]
            tensors = dict(zip(seen.tensors, some.T, strict=True))
            assert judge(tensors, {"input": tensors["input"]}, [""] * size).reasons == {}


def test_a_wild_frame_is_named_and_changes_no_range(tmp_path: Path, frames: dict[str, Array], data: DataSet) -> None:
    wild = frames | {"input": frames["input"].copy()}
    wild["input"][WILD] = np.sin(np.arange(wild["input"][WILD].size)).reshape(wild["input"][WILD].shape) * 3e3
    model = onnx.load(VAD.path())
    found = calibrated(model, data_of(tmp_path, model, wild), tmp_path)
    clean = calibrated(model, data, tmp_path)
    assert [each.where for each in found.excluded] == [f"shard shard-000.npz, sample {WILD}"]
    for name, (low, high) in clean.ranges.items():
        assert low <= found.ranges[name][0] <= found.ranges[name][1] <= high


def test_drift_of_the_input_is_seen_and_none_where_there_is_none(
    tmp_path: Path, frames: dict[str, Array], data: DataSet
) -> None:
    model = onnx.load(VAD.path())
    found = calibrated(model, data, tmp_path, tensors=tensors_of(model)[:1], limit=data.samples // 2)
    watched = next(each for each in found.baselines if each.input == "input")
    # The limit takes every second frame; the others are as good as theirs.
    others = frames["input"][1::2]
    limit = watched.psi_thresholds[100]
    assert psi(watched, count(watched.edges, others).tolist()) < limit
    assert psi(watched, count(watched.edges, others * np.float32(4)).tolist()) > limit
    assert judge_held_out([watched], data.read())[0].out_of_range_budget < 0.1
    assert found.seeds
