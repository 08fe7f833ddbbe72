from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from quanary.quantizer.calibrate import activations_of, collect
from quanary.quantizer.data import DataSet, digest_of_data, open_data
from quanary.quantizer.inference import Model, open_model
from quanary.wire.report import RefusedError
from tests.quantizer.models import model_of, save, save_shards, weights


def test_ranges_are_those_of_every_sample(tmp_path: Path, source: Path, data: DataSet) -> None:
    graph = onnx.load(source)
    tensors = activations_of(graph, frozenset({"stem", "body"}))
    assert tensors == ("image", "c1", "r1", "c2")
    ranges = collect(graph, tensors, data, 1000, tmp_path)
    batch = np.concatenate([sample.feed["image"] for sample in data.read()])
    assert ranges.bounds["image"] == (batch.min(), batch.max())
    assert ranges.bounds["r1"] == (0.0, max(ranges.bounds["c1"][1], 0.0))
    assert len(ranges.samples) == data.samples


def test_the_limit_is_kept(tmp_path: Path, source: Path, data: DataSet) -> None:
    ranges = collect(onnx.load(source), ("image",), data, 7, tmp_path)
    used = list(data.read(7))
    assert ranges.samples == {sample.digest for sample in used}
    assert ranges.bounds["image"][1] == max(sample.feed["image"].max() for sample in used)


def test_an_activation_that_is_no_number_names_tensor_and_sample(tmp_path: Path) -> None:
    nodes = [helper.make_node("Log", ["x"], ["log"]), helper.make_node("MatMul", ["log", "w"], ["scores"], "dense")]
    model = model_of(nodes, {"w": weights(3, 2, seed=1)}, {"x": ["n", 3]})
    folder = save_shards(tmp_path / "d", {"x": np.array([[1, 2, 3], [1, -1, 3]], np.float32)})
    opened = open_model(save(model, tmp_path / "m.onnx"), "spec.model.uri")
    data = open_data(folder, digest_of_data(folder), "spec.quantization.calibration.data", opened.inputs)
    with pytest.raises(RefusedError, match=r"shard-000.npz, sample 1: the model's tensor log is not finite"):
        collect(model, ("log", "scores"), data, 10, tmp_path)


def test_a_sample_the_model_rejects_is_named(tmp_path: Path) -> None:
    """An index that no row of the table has."""
    nodes = [
        helper.make_node("Gather", ["w", "i"], ["row"]),
        helper.make_node("MatMul", ["row", "w2"], ["scores"], "d"),
    ]
    model = model_of(nodes, {"w": weights(3, 2, seed=1), "w2": weights(2, 2, seed=2)}, {"i": ["n"]})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    folder = save_shards(tmp_path / "d", {"i": np.array([0, 9])})
    opened: Model = open_model(save(model, tmp_path / "m.onnx"), "spec.model.uri")
    data = open_data(folder, digest_of_data(folder), "spec.quantization.calibration.data", opened.inputs)
    with pytest.raises(RefusedError, match=r"shard-000.npz, sample 1: the model rejects it"):
        collect(model, ("row",), data, 10, tmp_path)
