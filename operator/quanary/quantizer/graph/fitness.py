"""Whether there is anything to quantize, and why not."""

import re
from typing import Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from quanary.quantizer.graph.read import FIELD
from quanary.quantizer.graph.walk import all_nodes, inputs_of, subgraphs_of
from quanary.wire.report import RefusedError

CORE: Final = ("Conv", "MatMul", "Gemm")

# Operators of ONNX, and of ONNX Runtime's own set.
_QUANTIZED: Final = re.compile(
    r"(Dynamic|De)?[Qq]uantize(Linear|LSTM|MatMul)|QLinear.*|Q(Gemm|Attention|MoE|EmbedLayerNormalization)|QOrdered.*"
    r"|.*Integer(ToFloat)?|MatMul(NBits|Bnb4)|GatherBlockQuantized"
)
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


def check_float(model: ModelProto) -> None:
    """Refuse what is quantized already, or computes nothing that could be, wherever.

    Raises:
        RefusedError: on the model.
    """
    nodes = [node for part in (model.graph, *model.functions) for node in all_nodes(part)]
    quantized = sorted({node.op_type for node in nodes if _QUANTIZED.fullmatch(node.op_type)})
    if quantized:
        raise RefusedError(FIELD, f"a quantized model ({', '.join(quantized)})", "a float model, or strategy Provided")
    if not any(node.op_type in CORE for node in nodes):
        allowed = f"a model with {', '.join(CORE)} to quantize: any other is served as float"
        raise RefusedError(FIELD, f"a model with no {', '.join(CORE)} in it", allowed)


def core_in_subgraphs(model: ModelProto) -> int:
    """Compute nodes out of the quantizer's reach.

    Raises:
        RefusedError: all of them are.
    """
    above = sum(node.op_type in CORE for node in model.graph.node)
    within = sum(node.op_type in CORE for node in all_nodes(model.graph)) - above
    if not above:
        holders = _holders(model)
        behind = sorted({name for names in holders.values() for name in names})
        texts = [
            f"{name}, that depends on the input {' and '.join(names)}" if names else name
            for name, names in holders.items()
        ]
        found = f"no {', '.join(CORE)} in the main graph, {within} in branches and loops ({'; '.join(texts)})"
        fixed = f"export with {' and '.join(behind)} fixed to one value" if behind else "export without If and Loop"
        raise RefusedError(FIELD, found, f"compute nodes in the main graph: {fixed}, or strategy Provided")
    return within


def check_weights(model: ModelProto, base: str) -> None:
    """Refuse weights of compute nodes that are no numbers. `base`: the folder of external data.

    Raises:
        RefusedError: naming the node and the weight.
    """
    stored = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        for name in node.input if node.op_type in CORE else ():
            if name in stored and stored[name].data_type in _FLOATS:
                bad = int(np.count_nonzero(~np.isfinite(numpy_helper.to_array(stored[name], base))))
                if bad:
                    found = f"weight {name} of node {node.name} with {bad} values that are NaN or infinite"
                    raise RefusedError(FIELD, found, "finite weights: export a checkpoint that did not diverge")


def _holders(model: ModelProto) -> dict[str, list[str]]:
    """The nodes that hold compute nodes, and the inputs by which an If among them chooses: `{"If If_0": ["sr"]}`."""
    return {
        f"{node.op_type} {node.name}": sorted(_inputs_behind(model, node.input[0])) if node.op_type == "If" else []
        for node in model.graph.node
        if any(inner.op_type in CORE for graph in subgraphs_of(node) for inner in all_nodes(graph))
    }


def _inputs_behind(model: ModelProto, name: str) -> set[str]:
    """Inputs of the model that a value is computed from."""
    maker: dict[str, NodeProto] = {output: node for node in model.graph.node for output in node.output}
    inputs = {each.name for each in model.graph.input}
    found, seen, rest = set(), set(), [name]
    while rest:
        each = rest.pop()
        if each in seen:
            continue
        seen.add(each)
        if each in inputs:
            found.add(each)
        if each in maker:
            rest += inputs_of(maker[each])
    return found
