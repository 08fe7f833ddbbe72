"""What is kept in float is computed in float by the runtime, whatever stands beside it."""

from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, NodeProto, helper

from quanary.quantizer.data import DataSet
from quanary.quantizer.making import quantized_nodes
from quanary.quantizer.recipe import Recipe, Scope
from tests.quantizer.making.bench import bench_for
from tests.quantizer.models import CLASSES, SIDE, Floats, model_of, weights

PIXELS = 3 * SIDE * SIDE


def convolutions() -> ModelProto:
    nodes: list[NodeProto] = []
    initializers: dict[str, Floats] = {}
    name, width = "image", 3
    for layer in ("one", "two", "three"):
        initializers |= {f"w-{layer}": weights(8, width, 3, 3, seed=width), f"b-{layer}": weights(8, seed=len(nodes))}
        nodes.append(helper.make_node("Conv", [name, f"w-{layer}", f"b-{layer}"], [f"c-{layer}"], layer))
        nodes.append(helper.make_node("Relu", [f"c-{layer}"], [f"r-{layer}"], f"relu-{layer}"))
        name, width = f"r-{layer}", 8
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["p"], "pool"))
    nodes.append(helper.make_node("Flatten", ["p"], ["scores"], "flat"))
    return model_of(nodes, initializers, {"image": ["n", 3, SIDE, SIDE]})


def matrices(operator: str, between: str) -> ModelProto:
    nodes = [helper.make_node("Flatten", ["image"], ["x"], "flat")]
    initializers: dict[str, Floats] = {}
    name, width = "x", PIXELS
    for layer, following in (("one", 16), ("two", 16), ("three", CLASSES)):
        output = "scores" if layer == "three" else f"y-{layer}"
        initializers[f"w-{layer}"] = weights(width, following, seed=following, scale=0.1)
        inputs = [name, f"w-{layer}"]
        if operator == "Gemm":
            initializers[f"b-{layer}"] = weights(following, seed=len(nodes))
            inputs.append(f"b-{layer}")
        nodes.append(helper.make_node(operator, inputs, [output], layer))
        if layer != "three":
            nodes.append(helper.make_node(between, [output], [f"r-{layer}"], f"{between}-{layer}"))
        name, width = f"r-{layer}", following
    return model_of(nodes, initializers, {"image": ["n", 3, SIDE, SIDE]})


MODELS = {
    "Conv": convolutions(),
    "Gemm Relu": matrices("Gemm", "Relu"),
    "Gemm Tanh": matrices("Gemm", "Tanh"),
    "Gemm Identity": matrices("Gemm", "Identity"),
    "MatMul Relu": matrices("MatMul", "Relu"),
    "MatMul Identity": matrices("MatMul", "Identity"),
}


def computed_in_float(artifact: Path, folder: Path) -> int:
    """Compute nodes that are left in float after the runtime's own optimisations."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(folder / "optimized.onnx")
    return sum(node.op_type in {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"} for node in optimized.graph.node)


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("kind", MODELS)
def test_a_layer_kept_in_float_is_computed_in_float_between_quantized_ones(
    kind: str, scope: Scope, data: DataSet, tmp_path: Path
) -> None:
    bench = bench_for(MODELS[kind], data, tmp_path)
    recipe = Recipe(scope=scope, kept_float=("two",))
    assert quantized_nodes(bench.made(recipe)) == {"one", "three"}
    assert computed_in_float(bench.make(recipe), tmp_path) == 1
    assert computed_in_float(bench.make(Recipe(scope=scope)), tmp_path) == 0
