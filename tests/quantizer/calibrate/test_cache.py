"""ONNX Runtime's own cache knows neither model nor data: ranges of other images were taken without a word."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from quanary.quantizer.calibrate import cache as cache_module
from quanary.quantizer.calibrate import calibrate
from quanary.quantizer.calibrate.cache import Cache
from quanary.quantizer.data import DataSet
from quanary.quantizer.recipe import Method
from tests.quantizer.calibrate.sources import CountedReads, calibrated, data_of, tensors_of
from tests.quantizer.models import classifier, images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_hit_runs_no_pass_and_finds_the_same(tmp_path: Path, folder: Path, data: DataSet) -> None:
    first, second = CountedReads(data), CountedReads(data)
    cold = calibrated(classifier(), first, tmp_path / "cold", cache=folder)
    bounds = {method: cold.bounds(method) for method in Method}
    warm = calibrated(classifier(), second, tmp_path / "warm", cache=folder)
    assert bounds == {method: warm.bounds(method) for method in Method}
    assert (first.reads, second.reads) == (3, 1)  # the digests, pass 1, pass 2; the digests
    assert (cold.from_cache, warm.from_cache) == (False, True)
    assert (cold.key, cold.baselines, cold.samples) == (warm.key, warm.baselines, warm.samples)
    assert not (tmp_path / "warm" / "observed.onnx").exists()


def test_min_and_max_need_one_pass(tmp_path: Path, data: DataSet) -> None:
    counted = CountedReads(data)
    found = calibrated(classifier(), counted, tmp_path)
    found.bounds(Method.MIN_MAX)
    assert set(found.clipped(Method.MIN_MAX).values()) == {0.0}
    assert counted.reads == 2


def dimmed(tmp_path: Path) -> DataSet:
    return data_of(tmp_path / "dimmed", classifier(), {"image": images(60, seed=11) * np.float32(0.1)})


def test_ranges_of_other_images_are_never_reused(tmp_path: Path, folder: Path, data: DataSet) -> None:
    dim = calibrated(classifier(), dimmed(tmp_path), tmp_path, cache=folder)
    good = calibrated(classifier(), data, tmp_path, cache=folder)
    assert not good.from_cache
    assert good.ranges["image"][1] > 5 * dim.ranges["image"][1]


def other_weights() -> ModelProto:
    model = classifier()
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(3), weight.name))
    return model


def test_ranges_of_other_weights_are_never_reused(tmp_path: Path, folder: Path, data: DataSet) -> None:
    """Even if whoever calls names the same model."""
    before = calibrated(classifier(), data, tmp_path, cache=folder)
    after = calibrated(other_weights(), data, tmp_path, cache=folder)
    assert not after.from_cache
    assert after.ranges["c1"][1] > 2 * before.ranges["c1"][1]


def test_the_key_covers_whatever_ranges_follow_from(
    tmp_path: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = data_of(tmp_path / "turned", classifier(), {"image": images(60, seed=11)[::-1].copy()})
    straight = data_of(tmp_path / "straight", classifier(), {"image": images(60, seed=11)})
    keys = [
        calibrated(classifier(), data, tmp_path).key,
        calibrated(classifier(), data, tmp_path, limit=20).key,
        calibrated(classifier(), turned, tmp_path).key,
        calibrated(classifier(), data, tmp_path, tensors=("c1",)).key,
        calibrate(classifier(), tensors_of(classifier()), data, 99, tmp_path, cache=None, model_sha256="other").key,
    ]
    assert calibrated(classifier(), straight, tmp_path).key == keys[0]  # the same samples in other shards
    monkeypatch.setattr(cache_module, "version", lambda name: "1.33.0" if name == "onnxruntime" else "1")
    keys.append(calibrated(classifier(), data, tmp_path).key)
    assert len(set(keys)) == 6


@pytest.mark.parametrize("damage", [lambda body: body[:-9], lambda body: body[:200] + b"7" + body[201:], lambda _: b""])
def test_damaged_files_are_written_anew(tmp_path: Path, folder: Path, data: DataSet, damage: object) -> None:
    assert callable(damage)
    first = calibrated(classifier(), data, tmp_path, cache=folder)
    bounds = first.bounds(Method.ENTROPY)
    whole = files(folder)
    for name, body in whole.items():
        (folder / name).write_bytes(damage(body))
    second = calibrated(classifier(), data, tmp_path, cache=folder)
    assert not second.from_cache
    assert second.bounds(Method.ENTROPY) == bounds
    assert files(folder) == whole


def test_a_file_of_another_key_is_not_believed(tmp_path: Path, folder: Path, data: DataSet) -> None:
    dim = calibrated(classifier(), dimmed(tmp_path), tmp_path, cache=folder)
    key = calibrated(classifier(), data, tmp_path).key
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace(dim.key, key))
    assert not calibrated(classifier(), data, tmp_path, cache=folder).from_cache


def test_a_run_killed_in_a_pass_loses_that_pass_alone(tmp_path: Path, folder: Path, data: DataSet) -> None:
    killed = CountedReads(data, fail_in=3)
    found = calibrated(classifier(), killed, tmp_path, cache=folder)
    with pytest.raises(KeyboardInterrupt):
        found.bounds(Method.PERCENTILE)
    assert [name.rsplit(".")[-1] for name in files(folder)] == ["ranges"]
    again = CountedReads(data)
    resumed = calibrated(classifier(), again, tmp_path, cache=folder)
    assert resumed.from_cache
    assert resumed.bounds(Method.PERCENTILE) == calibrated(classifier(), data, tmp_path).bounds(Method.PERCENTILE)
    assert again.reads == 2


def test_a_write_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = Cache(folder, "k")
    cache.put("ranges", b"old")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        cache.put("ranges", b"new")
    assert len(files(folder)) == 1
    assert cache.get("ranges") == b"old"
