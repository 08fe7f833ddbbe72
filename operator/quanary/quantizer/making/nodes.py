"""Which nodes a recipe quantizes, and which tensors must be calibrated for that."""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import onnx
from onnx import ModelProto, NodeProto
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from quanary.quantizer.graph import CORE
from quanary.quantizer.recipe import Approach, Recipe, Scope
from quanary.wire.report import RefusedError

KEEP_FLOAT: Final = "spec.quantization.keepFloat"
# ConvInteger, what Conv would become, is slower than float on every CPU.
DYNAMIC: Final = ("MatMul", "Gemm", "LSTM")
ALL: Final = tuple(sorted({*QDQRegistry, *QLinearOpsRegistry}))
# Unsigned activations express these by their range alone: the node before takes the narrower range, and they vanish.
FOLDED: Final = ("Relu", "Clip")


@dataclass(frozen=True)
class NodeChoice:
    """Nodes by name."""

    quantized: tuple[str, ...]
    kept_float: tuple[str, ...]


def operators_of(recipe: Recipe) -> tuple[str, ...]:
    """Operators that a recipe quantizes."""
    if recipe.approach == Approach.DYNAMIC:
        return DYNAMIC
    return CORE if recipe.scope == Scope.CORE else ALL


def choose_nodes(model: ModelProto, keep_float: Sequence[str]) -> NodeChoice:
    """Compute nodes to quantize and to keep, by names and shell patterns.

    Raises:
        RefusedError: a pattern matches no node, or nothing is left to quantize.
    """
    nodes = choose_for(model, Recipe(kept_float=tuple(keep_float)))
    require_some(nodes)
    return nodes


def choose_for(model: ModelProto, recipe: Recipe) -> NodeChoice:
    """Nodes that a recipe quantizes, and those it would if they were not kept in float.

    Raises:
        RefusedError: a pattern of `kept_float` matches no node.
    """
    candidates = _candidates(model, recipe)
    _check_patterns(model, recipe.kept_float)
    kept = tuple(name for name in candidates if _is_kept(name, recipe))
    return NodeChoice(tuple(name for name in candidates if name not in set(kept)), kept)


def require_some(nodes: NodeChoice) -> None:
    """Refuse a choice that keeps everything in float.

    Raises:
        RefusedError: nothing is left to quantize.
    """
    if nodes.kept_float and not nodes.quantized:
        found, allowed = f"all {len(nodes.kept_float)} compute nodes", "at least one compute node left to quantize"
        raise RefusedError(KEEP_FLOAT, found, allowed)


def folded_nodes(model: ModelProto, nodes: NodeChoice, recipe: Recipe) -> tuple[str, ...]:
    """Relu and Clip that alone read the output of a quantized node, and are not kept in float by name."""
    readers = Counter(name for node in model.graph.node for name in node.input)
    outputs = {each.name for each in model.graph.output}
    chosen = set(nodes.quantized)
    alone = {
        name
        for node in model.graph.node
        if node.name in chosen
        for name in node.output
        if readers[name] == 1 and name not in outputs
    }
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in FOLDED and node.input[0] in alone and not _is_kept(node.name, recipe)
    )


def quantized_nodes(model: ModelProto) -> set[str]:
    """Compute nodes that take dequantized inputs."""
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {node.name for node in model.graph.node if node.op_type in CORE and set(node.input[:2]) <= dequantized}


def tensors_for(model: ModelProto, scope: Scope) -> tuple[str, ...]:
    """Activations that static recipes of a scope need ranges of, in graph order."""
    weights = {each.name for each in model.graph.initializer}
    operators = {*operators_of(Recipe(scope=scope)), *FOLDED}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in operators:
            names |= dict.fromkeys(each for each in (*node.input, *node.output) if each and each not in weights)
    return tuple(names)


def _candidates(model: ModelProto, recipe: Recipe) -> tuple[str, ...]:
    operators = operators_of(recipe)
    nodes = [node for node in model.graph.node if node.op_type in operators]
    if recipe.approach == Approach.DYNAMIC:
        weights = {each.name: each for each in model.graph.initializer}
        nodes = [node for node in nodes if _has_dynamic_kernel(node, weights)]
    return tuple(node.name for node in nodes)


def _has_dynamic_kernel(node: NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    """Constant float weights, and for Gemm the form that is a MatMul and an Add."""
    constants = node.input[1:3] if node.op_type == "LSTM" else node.input[1:2]
    if any(each not in weights or weights[each].data_type != onnx.TensorProto.FLOAT for each in constants):
        return False
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    scaled = attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0)
    return node.op_type != "Gemm" or not scaled


def _check_patterns(model: ModelProto, patterns: Iterable[str]) -> None:
    names = [node.name for node in model.graph.node]
    core = [node.name for node in model.graph.node if node.op_type in CORE]
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, core, n=3, cutoff=0.0)
            raise RefusedError(KEEP_FLOAT, f"{pattern!r}, that matches no node", f"nodes such as {', '.join(near)}")


def _is_kept(name: str, recipe: Recipe) -> bool:
    return any(_matches(name, pattern) for pattern in recipe.kept_float)


def _matches(name: str, pattern: str) -> bool:
    """By name, by pattern, or by the name a node had before it was fused with the next (`<name>/MatMulAddFusion`)."""
    return name == pattern or fnmatchcase(name, pattern) or (name.startswith(f"{pattern}/") and name.endswith("Fusion"))
