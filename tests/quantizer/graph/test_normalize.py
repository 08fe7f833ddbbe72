"""The steps together, on models of every kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, version_converter

from quanary.quantizer.data import Sample
from quanary.quantizer.graph import Normalized, admit, normalize, opset_of, rebuild
from quanary.quantizer.graph.fitness import check_float
from quanary.quantizer.graph.shapes import LADDER
from quanary.quantizer.inference import open_model
from quanary.wire.report import RefusedError
from tests.quantizer.graph.rebuilding import FEEDS, graph_of, rebuilt
from tests.quantizer.models import CLASSES, classifier, images, model_of, save, weights

SAMPLES = [Sample("s", index, {"image": image[None]}, None) for index, image in enumerate(images(4, seed=1))]


def refusal_of(model: ModelProto, folder: Path, feeds: Sequence[tuple[str, Any]] = FEEDS) -> str:
    with pytest.raises(RefusedError) as caught:
        rebuilt(model, folder, feeds=feeds)
    assert caught.value.refusal.field == "spec.model.uri"
    assert not (folder / "normalized.onnx").exists()
    return caught.value.refusal.sentence


def test_a_model_is_normalised_in_a_process_of_its_own_and_named_by_its_bytes(tmp_path: Path) -> None:
    source = open_model(save(classifier(), tmp_path / "model.onnx"), "spec.model.uri")
    work = tmp_path / "work"
    work.mkdir()
    made = normalize(source, work, SAMPLES)
    assert isinstance(made, Normalized)
    assert made.path == work / "normalized.onnx"
    assert made.sha256 == admit(made.path, work).sha256
    assert [each.name for each in work.iterdir()] == ["normalized.onnx"]


def test_nothing_is_taken_for_equal_without_a_sample(tmp_path: Path) -> None:
    source = open_model(save(classifier(), tmp_path / "model.onnx"), "spec.model.uri")
    with pytest.raises(RefusedError, match=r"calibration\.data\.uri: found no samples to prove it equal on"):
        normalize(source, tmp_path, [])


def test_the_same_model_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    """A confined process has a fixed seed, this one has its own."""
    source = open_model(save(classifier(12), tmp_path / "model.onnx"), "spec.model.uri")
    (tmp_path / "here").mkdir()
    first = normalize(source, tmp_path, SAMPLES).sha256
    request = rebuild.Request(tmp_path / "model.onnx", tmp_path / "here" / "normalized.onnx", 17, FEEDS)
    assert rebuild.rebuild(request)["sha256"] == first


@pytest.mark.parametrize(
    ("found", "wanted", "made"), [(11, 17, 17), (13, 17, 17), (17, 17, 17), (18, 17, 18), (17, 21, 21)]
)
def test_an_opset_too_old_is_raised(tmp_path: Path, found: int, wanted: int, made: int) -> None:
    result = rebuilt(classifier(found), tmp_path, opset=wanted)
    assert (result["opset_found"], result["opset"]) == (found, made)
    model = onnx.load(tmp_path / "normalized.onnx")
    assert opset_of(model) == made
    assert [each.domain for each in model.opset_import] == [""]


def test_a_fused_gemm_gets_a_bias_of_one_axis(tmp_path: Path) -> None:
    result = rebuilt(classifier(), tmp_path)
    graph = graph_of(tmp_path)
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    bias = next(each for each in graph.initializer if each.name == gemm.input[2])
    assert list(bias.dims) == [CLASSES]
    assert "flattened 1 Gemm biases" in result["steps"]
    assert result["largest_difference"] < 1e-4


def test_every_node_gets_a_name_of_its_own_and_the_users_stay(tmp_path: Path) -> None:
    model = classifier()
    for node in model.graph.node:
        node.name = ""
    model.graph.node[0].name = "Conv_2"
    rebuilt(model, tmp_path)
    names = [node.name for node in graph_of(tmp_path).node]
    assert len(set(names)) == len(names)
    assert {"Conv_2", "Conv_2_", "Relu_1"} <= set(names)
    assert "" not in names


def test_constants_become_initializers(tmp_path: Path) -> None:
    model = classifier()
    weight = model.graph.initializer[0]
    model.graph.node.insert(0, helper.make_node("Constant", [], [weight.name], value=weight))
    model.graph.initializer.remove(weight)
    assert "made 1 constants initializers" in rebuilt(model, tmp_path)["steps"]
    graph = graph_of(tmp_path)
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
        helper.make_node("Greater", ["rate", "zero"], ["positive"]),
        helper.make_node(
            "If", ["positive"], ["scores"], "choice", then_branch=branch("a", 1), else_branch=branch("b", 2)
        ),
    ]
    model = model_of(nodes, {"zero": np.float32(0).reshape(())}, {"x": ["n", 3], "rate": []})
    feeds = [("sample 0", {"x": np.ones((1, 3), np.float32), "rate": np.float32(1).reshape(())})]
    sentence = refusal_of(model, tmp_path, feeds)
    assert "2 in branches and loops (If choice, that depends on the input rate)" in sentence
    assert "export with rate fixed" in sentence


def test_a_model_without_compute_nodes_is_refused(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["scores"])], {}, {"x": ["n", 3]})
    assert "no Conv, MatMul, Gemm in it" in refusal_of(model, tmp_path)


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


@pytest.mark.parametrize(
    "operator", ["QLinearConv", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeLSTM", "MatMulNBits", "QGemm"]
)
def test_every_quantized_operator_is_known(operator: str) -> None:
    model = classifier()
    model.graph.node[1].op_type = operator
    with pytest.raises(RefusedError, match=f"a quantized model \\({operator}\\)"):
        check_float(model)


def test_functions_of_the_model_itself_are_inlined(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    function = helper.make_function("local", "Act", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    model = classifier()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Act", "local"
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.append(function)
    assert "inlined 1 functions" in rebuilt(model, tmp_path)["steps"]
    assert not onnx.load(tmp_path / "normalized.onnx").functions


def test_a_graph_that_changed_is_never_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of equality is what stands between a bug in a step above and a wrong artifact."""

    def spoil(model: ModelProto, steps: list[str], base: str) -> None:
        first = model.graph.initializer[0]
        first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first, base) * 2, first.name))

    monkeypatch.setattr(rebuild, "flatten_gemm_bias", spoil)
    assert "outputs differ on sample 0" in refusal_of(classifier(), tmp_path)


def test_weights_that_old_exporters_list_as_inputs_become_constants(tmp_path: Path) -> None:
    model = classifier(9)
    model.ir_version = 3
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    result = rebuilt(model, tmp_path)
    assert "made 5 inputs with a default constant" in result["steps"]
    assert [each.name for each in graph_of(tmp_path).input] == ["image"]


def test_what_a_model_says_of_itself_stays(tmp_path: Path) -> None:
    """A recogniser's alphabet is there."""
    model = classifier()
    model.metadata_props.add(key="character", value="a\nb\nc")
    rebuilt(model, tmp_path)
    said = {each.key: each.value for each in onnx.load(tmp_path / "normalized.onnx").metadata_props}
    assert said["character"] == "a\nb\nc"
    assert "onnx.quant.pre_process" in said


@pytest.mark.parametrize(("found", "made"), [(11, 13), (15, 15)])
def test_the_last_rung_converts_no_further_than_it_must(tmp_path: Path, found: int, made: int) -> None:
    assert rebuilt(classifier(found), tmp_path, ladder=LADDER[-1:])["opset"] == made
    assert rebuilt(classifier(found), tmp_path, ladder=LADDER[-1:], opset=21)["opset"] == 21


def test_a_conversion_that_changes_the_outputs_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert = version_converter.convert_version

    def wrong(model: ModelProto, target: int) -> ModelProto:
        converted = convert(model, target)
        first = converted.graph.initializer[0]
        first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) * 2, first.name))
        return converted

    monkeypatch.setattr(version_converter, "convert_version", wrong)
    result = rebuilt(classifier(15), tmp_path)
    assert result["opset"] == 15
    assert LADDER[-1].text in result["steps"]
