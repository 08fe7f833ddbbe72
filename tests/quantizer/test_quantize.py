from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from quanary.quantizer.calibrate import activations_of, collect
from quanary.quantizer.data import DataSet
from quanary.quantizer.inference import answer_of, open_model
from quanary.quantizer.normalize import normalize
from quanary.quantizer.quantize import choose_nodes, quantize, quantized_nodes
from quanary.wire.report import RefusedError
from tests.quantizer.models import classifier, save

HEAD = "head/MatMulAddFusion"


def made(folder: Path, data: DataSet, *keep_float: str, model: ModelProto | None = None) -> Path:
    """The classifier through normalisation, calibration and quantization."""
    folder.mkdir(exist_ok=True)
    opened = open_model(save(model or classifier(), folder / "model.onnx"), "spec.model.uri")
    normalized = normalize(opened, folder, list(data.read(4)))
    graph = onnx.load(normalized.path)
    nodes = choose_nodes(graph, keep_float)
    ranges = collect(graph, activations_of(graph, frozenset(nodes.quantized)), data, 100, folder)
    return quantize(normalized.path, nodes, ranges, folder)


def test_only_compute_nodes_are_quantized(tmp_path: Path, data: DataSet) -> None:
    graph = onnx.load(made(tmp_path, data))
    assert quantized_nodes(graph) == {"stem", "body", HEAD}
    dequantized = {node.output[0] for node in graph.graph.node if node.op_type == "DequantizeLinear"}
    others = [node for node in graph.graph.node if node.op_type == "GlobalAveragePool"]
    assert not any(set(node.input) & dequantized for node in others)


def test_activations_are_unsigned_and_weights_have_seven_signed_bits_a_channel(tmp_path: Path, data: DataSet) -> None:
    graph = onnx.load(made(tmp_path, data)).graph
    values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    activations = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert activations
    assert {values[node.input[2]].dtype for node in activations} == {np.dtype(np.uint8)}
    weights = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    weights = [node for node in weights if values[node.input[0]].dtype == np.int8]
    assert sorted(values[node.input[1]].size for node in weights) == [4, 8, 16]  # scales: one a channel
    # 255 * 64 * 2 < 2**15: such sums cannot saturate without VNNI.
    assert max(int(np.abs(values[node.input[0]].astype(int)).max()) for node in weights) <= 64


def test_the_artifact_answers_as_the_model_does(tmp_path: Path, data: DataSet, source: Path) -> None:
    int8, model = open_model(made(tmp_path, data), "f"), open_model(source, "f")
    same = [
        np.array_equal(answer_of(int8.run(each.feed)[0]), answer_of(model.run(each.feed)[0])) for each in data.read()
    ]
    assert np.mean(same) >= 0.95


@pytest.mark.parametrize("opset", [11, 12, 13, 18])
def test_artifacts_of_any_opset_load(tmp_path: Path, data: DataSet, opset: int) -> None:
    assert open_model(made(tmp_path, data, model=classifier(opset)), "f").outputs[0].name == "scores"


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, data: DataSet) -> None:
    assert made(tmp_path / "a", data).read_bytes() == made(tmp_path / "b", data).read_bytes()


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (["stem"], {"body", HEAD}),
        (["st*", "body"], {HEAD}),
        (["head"], {"stem", "body"}),  # its name before it was fused with `bias`
        ([HEAD], {"stem", "body"}),
        (["act"], {"stem", "body", HEAD}),  # in float already
    ],
)
def test_named_nodes_stay_in_float(tmp_path: Path, data: DataSet, keep: list[str], left: set[str]) -> None:
    assert quantized_nodes(onnx.load(made(tmp_path, data, *keep))) == left


def test_an_unknown_name_is_refused_with_names_near_it(tmp_path: Path, data: DataSet) -> None:
    with pytest.raises(RefusedError) as caught:
        made(tmp_path, data, "stem", "bodi")
    assert caught.value.refusal.field == "spec.quantization.keepFloat"
    assert "'bodi'" in caught.value.refusal.found
    assert caught.value.refusal.allowed.startswith("nodes such as body")


def test_keeping_everything_is_refused(tmp_path: Path, data: DataSet) -> None:
    with pytest.raises(RefusedError, match="all 3 compute nodes"):
        made(tmp_path, data, "*")
