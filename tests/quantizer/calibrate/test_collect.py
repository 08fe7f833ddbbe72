from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from quanary.quantizer.calibrate import calibration, collect
from quanary.quantizer.calibrate.histogram import Histogram
from quanary.quantizer.data import DataSet
from quanary.quantizer.inference import open_model
from quanary.quantizer.recipe import Method
from quanary.wire.report import RefusedError
from tests.quantizer.calibrate.sources import calibrated, data_of
from tests.quantizer.models import classifier, images, model_of, weights


def logarithm() -> ModelProto:
    nodes = [helper.make_node("Log", ["x"], ["log"]), helper.make_node("MatMul", ["log", "w"], ["scores"], "dense")]
    return model_of(nodes, {"w": weights(3, 2, seed=1)}, {"x": ["n", 3]})


def sequence() -> ModelProto:
    """Any number of steps, and a tensor of their number."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["steps"], "dense"),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ReduceMax", ["steps"], ["scores"], axes=[1], keepdims=0),
    ]
    return model_of(nodes, {"w": weights(3, 2, seed=1)}, {"x": [1, "steps", 3]})


def test_ranges_are_those_of_every_sample_with_zero_in_them(tmp_path: Path, source: Path, data: DataSet) -> None:
    found = calibrated(onnx.load(source), data, tmp_path)
    model = open_model(source, "f")
    batch = np.concatenate([sample.feed["image"] for sample in data.read()])
    scores = np.concatenate([model.run(sample.feed)[0] for sample in data.read()])
    assert found.ranges["image"] == (batch.min(), batch.max())
    assert found.ranges["scores"] == pytest.approx((min(scores.min(), 0), scores.max()), rel=1e-5)
    assert found.ranges["r1"] == (0.0, found.ranges["c1"][1])
    assert found.samples == {sample.digest for sample in data.read()}
    assert found.used == data.samples


def test_the_limit_is_kept(tmp_path: Path, source: Path, data: DataSet) -> None:
    found = calibrated(onnx.load(source), data, tmp_path, limit=7)
    used = list(data.read(7))
    assert found.samples == {sample.digest for sample in used}
    assert found.ranges["image"][1] == max(sample.feed["image"].max() for sample in used)


def test_histograms_hold_every_value_once(tmp_path: Path, source: Path, data: DataSet) -> None:
    found = calibrated(onnx.load(source), data, tmp_path)
    batch = np.concatenate([sample.feed["image"] for sample in data.read()])
    image, relu = found.histograms["image"], found.histograms["r1"]
    assert image.total == batch.size
    expected = np.histogram(batch[batch != 0], image.edges)[0]
    assert np.abs(np.cumsum(image.counts) - np.cumsum(expected)).max() <= 3  # float32 beside an edge
    assert relu.zeros > 0.1 * relu.total
    assert relu.zeros + relu.counts.sum() == relu.total


def test_a_range_is_worked_out_once(
    tmp_path: Path, source: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def counted(histogram: Histogram) -> tuple[float, float]:
        asked.append(histogram.high)
        return histogram.low, histogram.high

    monkeypatch.setattr(calibration, "RANGE_OF", {Method.ENTROPY: counted})
    found = calibrated(onnx.load(source), data, tmp_path)
    for _ in range(2):
        found.bounds(Method.ENTROPY)
        found.clipped(Method.ENTROPY)
    assert len(asked) == len(found.ranges)


def test_threads_change_nothing(tmp_path: Path, source: Path, data: DataSet) -> None:
    one, many = (calibrated(onnx.load(source), data, tmp_path / str(n), threads=n) for n in (1, 3))
    assert one.ranges == many.ranges
    assert one.baselines == many.baselines
    for method in Method:
        assert one.bounds(method) == many.bounds(method)


def test_samples_may_differ_in_length(tmp_path: Path) -> None:
    shards = [{"x": weights(4, length, 3, seed=length)} for length in (2, 5, 9)]
    data = data_of(tmp_path, sequence(), *shards)
    found = calibrated(sequence(), data, tmp_path)
    assert found.ranges["x"] == (min(each["x"].min() for each in shards), max(each["x"].max() for each in shards))
    assert found.histograms["steps"].total == 4 * (2 + 5 + 9) * 2
    assert len(found.baselines) == 1


def test_tensors_that_are_no_floats_have_no_range(tmp_path: Path) -> None:
    found = calibrated(sequence(), data_of(tmp_path, sequence(), {"x": weights(4, 2, 3, seed=1)}), tmp_path)
    assert set(found.ranges) == {"x", "steps", "scores"}


def test_a_tensor_that_is_always_empty_has_no_range(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Slice", ["x", "from", "to"], ["none"]),
        helper.make_node("Concat", ["none", "x"], ["scores"], axis=0),
    ]
    bounds = {"from": np.array([0]), "to": np.array([0])}
    model = model_of(nodes, bounds, {"x": ["n", 3]})
    found = calibrated(model, data_of(tmp_path, model, {"x": weights(4, 3, seed=1)}), tmp_path)
    assert set(found.ranges) == {"x", "scores"}
    assert set(found.bounds(Method.ENTROPY)) == {"x", "scores"}


def test_an_activation_that_is_no_number_names_tensor_and_sample(tmp_path: Path) -> None:
    data = data_of(tmp_path, logarithm(), {"x": np.array([[1, 2, 3], [1, -1, 3]], np.float32)})
    with pytest.raises(RefusedError, match=r"shard-000.npz, sample 1: the model's tensor log is not finite"):
        calibrated(logarithm(), data, tmp_path)


def test_a_sample_the_model_rejects_is_named(tmp_path: Path) -> None:
    """An index that no row of the table has."""
    nodes = [
        helper.make_node("Gather", ["w", "i"], ["row"]),
        helper.make_node("MatMul", ["row", "w2"], ["scores"], "d"),
    ]
    model = model_of(nodes, {"w": weights(3, 2, seed=1), "w2": weights(2, 2, seed=2)}, {"i": ["n"]})
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    data = data_of(tmp_path, model, {"i": np.array([0, 9])})
    with pytest.raises(RefusedError, match=r"shard-000.npz, sample 1: the model rejects it"):
        calibrated(model, data, tmp_path)


def test_a_tensor_the_model_does_not_have_is_refused(tmp_path: Path, data: DataSet) -> None:
    with pytest.raises(ValueError, match="does not have: nowhere"):
        calibrated(classifier(), data, tmp_path, tensors=("c1", "nowhere"))


def test_weights_beyond_one_file_are_written_beside_it(
    tmp_path: Path, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = calibrated(classifier(), data, tmp_path / "usual")
    monkeypatch.setattr(collect, "_ONE_FILE_BYTES", 100)
    split = calibrated(classifier(), data, tmp_path / "split")
    assert (tmp_path / "split" / "observed.weights").stat().st_size > 1000
    assert split.bounds(Method.PERCENTILE) == usual.bounds(Method.PERCENTILE)
    assert split.key == usual.key


def test_data_that_change_between_two_readings_are_refused(tmp_path: Path) -> None:
    data = data_of(tmp_path, classifier(), {"image": images(12, seed=1)})
    found = calibrated(classifier(), data, tmp_path)
    np.savez(data.path / "shard-000.npz", image=images(12, seed=2))
    with pytest.raises(RefusedError, match=r"shard-000.npz, sample 0: another one than before"):
        found.bounds(Method.PERCENTILE)
