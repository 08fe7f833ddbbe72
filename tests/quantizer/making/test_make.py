import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from quanary.artifacts.verify import digest_of
from quanary.quantizer.data import DataSet
from quanary.quantizer.inference import answer_of, open_model
from quanary.quantizer.making import Known, MakingError, choose_nodes, make, quantized_nodes
from quanary.quantizer.recipe import Activations, Approach, Granularity, Recipe, Scope
from quanary.wire.report import RefusedError
from tests.quantizer.making.bench import Bench, bench_for
from tests.quantizer.models import CLASSES, classifier, model_of, weights

HEAD = "head/MatMulAddFusion"
OTHERS = (
    Recipe(),
    Recipe(granularity=Granularity.PER_TENSOR),
    Recipe(reduce_range=False),
    Recipe(scope=Scope.ALL),
    Recipe(approach=Approach.DYNAMIC),
    Recipe(approach=Approach.DYNAMIC, granularity=Granularity.PER_TENSOR),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data: DataSet) -> Bench:
    return bench_for(classifier(), data, tmp_path_factory.mktemp("bench"))


def initializers(graph: ModelProto) -> dict[str, npt.NDArray[np.generic]]:
    return {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}


def quantized_outputs(graph: ModelProto) -> set[str]:
    """Operators whose outputs are quantized."""
    read = {node.input[0] for node in graph.graph.node if node.op_type == "QuantizeLinear"}
    return {node.op_type for node in graph.graph.node if set(node.output) & read}


def weights_of(graph: ModelProto) -> list[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]]:
    """Quantized weights and their scales."""
    values = initializers(graph)
    nodes = [node for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    return [(values[x.input[0]], values[x.input[1]]) for x in nodes if values[x.input[0]].dtype == np.int8]


def agreement(artifact: Path, source: Path, data: DataSet) -> float:
    int8, model = open_model(artifact, "f"), open_model(source, "f")
    same = [
        np.array_equal(answer_of(int8.run(each.feed)[0]), answer_of(model.run(each.feed)[0])) for each in data.read()
    ]
    return float(np.mean(same))


def test_a_core_recipe_quantizes_compute_nodes_and_no_others(bench: Bench) -> None:
    graph = bench.made(Recipe())
    assert quantized_nodes(graph) == {"stem", "body", HEAD}
    assert "GlobalAveragePool" not in quantized_outputs(graph)


def test_scope_all_quantizes_other_operators_too(bench: Bench) -> None:
    assert "GlobalAveragePool" in quantized_outputs(bench.made(Recipe(scope=Scope.ALL)))


def test_activations_are_unsigned_and_weights_have_seven_signed_bits_a_channel(bench: Bench) -> None:
    graph = bench.made(Recipe())
    values = initializers(graph)
    activations = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert activations
    assert {values[node.input[2]].dtype for node in activations} == {np.dtype(np.uint8)}
    assert sorted(scale.size for _, scale in weights_of(graph)) == [CLASSES, 8, 16]
    # 255 * 64 * 2 < 2**15: such sums cannot saturate without VNNI.
    assert max(int(np.abs(weight.astype(int)).max()) for weight, _ in weights_of(graph)) <= 64


def test_granularity_and_range_are_as_the_recipe_says(bench: Bench) -> None:
    whole = weights_of(bench.made(Recipe(granularity=Granularity.PER_TENSOR, reduce_range=False)))
    assert {scale.size for _, scale in whole} == {1}
    assert max(int(np.abs(weight.astype(int)).max()) for weight, _ in whole) == 127


def test_a_relu_that_alone_follows_a_compute_node_becomes_the_bound_of_its_range(bench: Bench) -> None:
    graph = bench.made(Recipe())
    assert "act" not in {node.name for node in graph.graph.node}
    zero_points = [
        initializers(graph)[node.input[2]]
        for node in graph.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0].startswith("r1")
    ]
    assert [int(each) for each in zero_points] == [0]


def test_a_relu_kept_by_name_stays(bench: Bench) -> None:
    graph = bench.made(Recipe(kept_float=("act",)))
    assert "act" in {node.name for node in graph.graph.node}
    assert quantized_nodes(graph) == {"stem", "body", HEAD}


def test_a_dynamic_recipe_never_makes_a_conv_integer(bench: Bench) -> None:
    operators = Counter(node.op_type for node in bench.made(Recipe(approach=Approach.DYNAMIC)).graph.node)
    assert operators["MatMulInteger"] == 1  # the Gemm
    assert operators["Conv"] == 2
    assert operators["ConvInteger"] == 0


def test_a_dynamic_recipe_quantizes_an_lstm(tmp_path: Path, data: DataSet) -> None:
    graph = bench_for(recurrent(), data, tmp_path).made(Recipe(approach=Approach.DYNAMIC))
    assert "DynamicQuantizeLSTM" in {node.op_type for node in graph.graph.node}


def recurrent() -> ModelProto:
    """The rows of an image as a sequence."""
    nodes = [
        onnx.helper.make_node("Reshape", ["image", "shape"], ["x"], "rows"),
        onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y", "h"], "lstm", hidden_size=8),
        onnx.helper.make_node("Squeeze", ["h", "axis"], ["s"], "squeeze"),
        onnx.helper.make_node("MatMul", ["s", "v"], ["scores"], "head"),
    ]
    initializers = {
        "shape": np.array([10, -1, 30], np.int64),
        "w": weights(1, 32, 30, seed=1),
        "r": weights(1, 32, 8, seed=2),
        "axis": np.array([0], np.int64),
        "v": weights(8, CLASSES, seed=3),
    }
    return model_of(nodes, initializers, {"image": [1, 3, 10, 10]})


def test_sixteen_bit_activations_come_at_opset_21(tmp_path: Path, data: DataSet) -> None:
    bench = bench_for(classifier(), data, tmp_path, opset=21)
    recipe = Recipe(activations=Activations.UINT16)
    graph = bench.made(recipe)
    assert {each.domain: each.version for each in graph.opset_import}[""] >= 21
    activations = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert {initializers(graph)[node.input[2]].dtype for node in activations} == {np.dtype(np.uint16)}
    assert agreement(bench.make(recipe), bench.source, data) == 1.0


@pytest.mark.parametrize("recipe", OTHERS, ids=lambda recipe: recipe.text)
def test_artifacts_answer_as_the_model_does(bench: Bench, data: DataSet, recipe: Recipe) -> None:
    assert agreement(bench.make(recipe), bench.source, data) >= 0.95


@pytest.mark.parametrize("opset", [11, 18])
def test_artifacts_of_any_opset_load(tmp_path: Path, data: DataSet, opset: int) -> None:
    bench = bench_for(classifier(opset), data, tmp_path)
    assert open_model(bench.make(Recipe()), "f").outputs[0].name == "scores"


def test_the_same_inputs_give_the_same_bytes_in_other_processes(bench: Bench, tmp_path: Path) -> None:
    program = (
        "import sys, pickle, pathlib; from quanary.quantizer.making import make;"
        "graph, recipes, bounds = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        "[make(graph, each, bounds, pathlib.Path(sys.argv[2])) for each in recipes]"
    )
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((bench.normalized, OTHERS, bench.bounds)))
    expected = {path.name: digest_of(path) for path in map(bench.make, OTHERS)}
    for seed in ("1", "2"):
        out = tmp_path / seed
        out.mkdir()
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", program, str(given), str(out)], check=True, env=environment)
        assert {path.name: digest_of(path) for path in out.iterdir()} == expected


def test_nothing_unused_is_left_in_the_file(bench: Bench) -> None:
    graph = bench.made(Recipe()).graph
    used = {name for node in graph.node for name in node.input}
    assert {each.name for each in graph.initializer} <= used
    assert not graph.value_info
    assert not any(
        each.dims and each.data_type == onnx.TensorProto.FLOAT and len(each.dims) > 1 for each in graph.initializer
    )


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (["stem"], {"body", HEAD}),
        (["st*", "body"], {HEAD}),
        (["head"], {"stem", "body"}),  # its name before it was fused with `bias`
        ([HEAD], {"stem", "body"}),
        (["act"], {"stem", "body", HEAD}),
    ],
)
def test_named_nodes_stay_in_float(bench: Bench, keep: list[str], left: set[str]) -> None:
    assert quantized_nodes(bench.made(Recipe(kept_float=tuple(keep)))) == left
    assert set(choose_nodes(onnx.load(bench.normalized), keep).quantized) == left


def test_an_unknown_name_is_refused_with_names_near_it(bench: Bench) -> None:
    with pytest.raises(RefusedError) as caught:
        bench.make(Recipe(kept_float=("stem", "bodi")))
    assert caught.value.refusal.field == "spec.quantization.keepFloat"
    assert "'bodi'" in caught.value.refusal.found
    assert caught.value.refusal.allowed.startswith("nodes such as body")


def test_keeping_everything_is_refused(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="all 3 compute nodes"):
        bench.make(Recipe(kept_float=("*",)))


def test_a_tensor_without_a_range_is_an_error(bench: Bench) -> None:
    bounds = {name: bound for name, bound in bench.bounds.items() if name != "image"}
    with pytest.raises(MakingError, match="image"):
        make(bench.normalized, Recipe(), bounds, bench.work)


def test_a_graph_without_constant_matrices_cannot_be_made_dynamic(tmp_path: Path, data: DataSet) -> None:
    nodes = [onnx.helper.make_node("Conv", ["image", "w"], ["scores"], "conv", kernel_shape=[10, 10])]
    bench = bench_for(
        model_of(nodes, {"w": weights(4, 3, 10, 10, seed=1)}, {"image": ["n", 3, 10, 10]}), data, tmp_path
    )
    with pytest.raises(MakingError, match="no node that a dynamic recipe quantizes"):
        bench.make(Recipe(approach=Approach.DYNAMIC))


def test_what_earlier_models_had_to_work_out_changes_no_byte(bench: Bench, tmp_path: Path) -> None:
    known: Known = {}
    for recipe in (*OTHERS, Recipe(kept_float=("body",)), *OTHERS):
        alone = bench.make(recipe).read_bytes()
        assert make(bench.normalized, recipe, bench.bounds, tmp_path, known).read_bytes() == alone, recipe.text
    assert known
