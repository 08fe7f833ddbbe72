"""Keep in float what was asked to stay in float.

ONNX Runtime (1.22 and later, WeightBiasQuantization) quantizes the weights of a float Conv or Gemm by itself, one scale
a tensor, wherever its input is dequantized and its output quantized: with INT8 neighbours `keepFloat` would mean
nothing. A Sum of one input behind the node, that no optimiser removes, hides the pattern for the price of a copy.
"""

from collections import defaultdict
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, helper

from quanary.quantizer.making.nodes import FOLDED

_AT_RISK: Final = ("Conv", "ConvTranspose", "Gemm")
# Quantization moves through these: upwards from the node behind, downwards from the one before.
_MOVERS: Final = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "MaxPool", "Identity")


def hide_float_nodes(model: ModelProto) -> None:
    """Put a barrier behind every float node at risk."""
    graph = model.graph
    outputs = {each.name for each in graph.output}
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    for node in [each for each in graph.node if each.op_type in _AT_RISK]:
        if not _comes_from(node.input[0], "DequantizeLinear", makers) or _is_quantized(node, makers):
            continue
        last = _last(node, readers)
        if last.output[0] not in outputs and _goes_to(last.output[0], "QuantizeLinear", readers):
            _insert(graph, last, readers[last.output[0]])


def _is_quantized(node: NodeProto, makers: dict[str, NodeProto]) -> bool:
    weight = makers.get(node.input[1])
    return weight is not None and weight.op_type == "DequantizeLinear"


def _comes_from(name: str, operator: str, makers: dict[str, NodeProto]) -> bool:
    maker = makers.get(name)
    while maker is not None and maker.op_type in _MOVERS:
        maker = makers.get(maker.input[0])
    return maker is not None and maker.op_type == operator


def _goes_to(name: str, operator: str, readers: dict[str, list[NodeProto]]) -> bool:
    for node in readers[name]:
        if node.op_type == operator:
            return True
        if node.op_type in (*_MOVERS, *FOLDED) and _goes_to(node.output[0], operator, readers):
            return True
    return False


def _last(node: NodeProto, readers: dict[str, list[NodeProto]]) -> NodeProto:
    """The node, or the activation that is computed together with it."""
    following = readers[node.output[0]]
    return following[0] if len(following) == 1 and following[0].op_type in FOLDED else node


def _insert(graph: GraphProto, node: NodeProto, readers: list[NodeProto]) -> None:
    name = node.output[0]
    barrier = f"{name}/KeptFloat"
    for reader in readers:
        for index, each in enumerate(reader.input):
            if each == name:
                reader.input[index] = barrier
    position = list(graph.node).index(node)
    graph.node.insert(position + 1, helper.make_node("Sum", [name], [barrier], f"{node.name}/KeptFloat"))
