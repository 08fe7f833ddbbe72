from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from quanary.quantizer.data import Sample
from quanary.quantizer.inference import open_model
from quanary.quantizer.normalize import Normalized, normalize, opset_of, read_graph
from quanary.wire.report import RefusedError
from tests.quantizer.models import CLASSES, classifier, images, model_of, save, weights

SAMPLES = [Sample("s", index, {"image": image[None]}, None) for index, image in enumerate(images(4, seed=1))]


def normalized(model: ModelProto, folder: Path, samples: list[Sample] = SAMPLES) -> Normalized:
    return normalize(open_model(save(model, folder / "model.onnx"), "spec.model.uri"), folder, samples)


def refusal_of(model: ModelProto, folder: Path) -> str:
    with pytest.raises(RefusedError) as caught:
        normalized(model, folder)
    assert caught.value.refusal.field == "spec.model.uri"
    return caught.value.refusal.sentence


@pytest.mark.parametrize(("found", "made"), [(11, 17), (12, 17), (13, 13), (17, 17)])
def test_an_opset_too_old_for_channel_scales_is_raised(tmp_path: Path, found: int, made: int) -> None:
    result = normalized(classifier(found), tmp_path)
    assert (result.opset_found, result.opset) == (found, made)
    assert opset_of(onnx.load(result.path)) == made


def test_a_fused_gemm_gets_a_bias_of_one_axis(tmp_path: Path) -> None:
    result = normalized(classifier(), tmp_path)
    graph = onnx.load(result.path).graph
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    bias = next(each for each in graph.initializer if each.name == gemm.input[2])
    assert list(bias.dims) == [CLASSES]
    assert "flattened 1 Gemm biases" in result.steps
    assert result.largest_difference < 1e-4


def test_every_node_gets_a_name_of_its_own_and_the_users_stay(tmp_path: Path) -> None:
    model = classifier()
    for node in model.graph.node:
        node.name = ""
    model.graph.node[0].name = "Conv_2"
    names = [node.name for node in onnx.load(normalized(model, tmp_path).path).graph.node]
    assert len(set(names)) == len(names)
    assert {"Conv_2", "Conv_2_", "Relu_1"} <= set(names)
    assert "" not in names


def test_constants_become_initializers(tmp_path: Path) -> None:
    model = classifier()
    weight = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=weight))
    model.graph.initializer.remove(weight)
    graph = onnx.load(normalized(model, tmp_path).path).graph
    assert "Constant" not in {node.op_type for node in graph.node}
    conv = next(node for node in graph.node if node.name == "stem")
    assert conv.input[1] in {each.name for each in graph.initializer}


def branch(name: str, factor: float) -> onnx.GraphProto:
    weight = numpy_helper.from_array(weights(3, CLASSES, seed=3) * np.float32(factor), f"{name}_w")
    output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", weight.name], [output.name])], name, [], [output], [weight]
    )


def test_a_model_with_all_its_work_in_branches_is_refused_with_what_would_help(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["scores"], then_branch=branch("a", 1), else_branch=branch("b", 2)),
    ]
    model = model_of(nodes, {"zero": np.float32(0).reshape(())}, {"x": ["n", 3]})
    sentence = refusal_of(model, tmp_path)
    assert "2 in branches and loops" in sentence
    assert "export without If and Loop" in sentence


def test_a_model_without_compute_nodes_is_refused(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["scores"])], {}, {"x": ["n", 3]})
    assert "no Conv, MatMul, Gemm in the main graph, 0 in branches" in refusal_of(model, tmp_path)


def test_a_quantized_model_is_refused_in_favour_of_provided(tmp_path: Path) -> None:
    scales = {"s": np.float32(0.1).reshape(()), "z": np.uint8(0).reshape(()), "w": weights(3, 2, seed=1)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["scores"]),
    ]
    sentence = refusal_of(model_of(nodes, scales, {"x": ["n", 3]}), tmp_path)
    assert "DequantizeLinear, QuantizeLinear" in sentence
    assert "strategy Provided" in sentence


def test_custom_operators_are_refused_by_name(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Swish", "acme"
    model.opset_import.append(helper.make_opsetid("acme", 1))
    with pytest.raises(RefusedError, match="custom operators acme::Swish"):
        read_graph(save(model, tmp_path / "model.onnx"))


def test_functions_of_the_model_itself_are_inlined(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("local", "Act", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model = classifier()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Act", "local"
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.append(function)
    assert "inlined functions" in normalized(model, tmp_path).steps


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    onnx.save(classifier(), tmp_path / "model.onnx", save_as_external_data=True, location="weights", size_threshold=16)
    with pytest.raises(RefusedError, match="weights in external files"):
        read_graph(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"hello, this is no model", b"\x08\x08"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(RefusedError, match=r"spec.model.uri: found a file"):
        read_graph(tmp_path / "model.onnx")


def test_a_truncated_model_is_refused(tmp_path: Path, source: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(RefusedError, match=r"spec.model.uri"):
        read_graph(path)


def test_a_graph_that_changed_is_never_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of equality is what stands between a bug in a step above and a wrong artifact."""

    def spoil(model: ModelProto, steps: list[str]) -> None:
        first = model.graph.initializer[0]
        first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * 2, first.name))

    monkeypatch.setattr("quanary.quantizer.normalize._flatten_gemm_bias", spoil)
    assert "outputs differ on shard s, sample 0" in refusal_of(classifier(), tmp_path)
