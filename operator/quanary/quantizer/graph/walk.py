"""Ways through a model: its nodes and tensors, wherever they are."""

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

M = TypeVar("M")


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Nodes of a graph and of the branches and bodies within."""
    for node in graph.node:
        yield node
        for inner in subgraphs_of(node):
            yield from all_nodes(inner)


def subgraphs_of(node: NodeProto) -> Iterator[GraphProto]:
    """Branches and bodies of one node, not those within them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors_of(message: Message) -> Iterator[TensorProto]:
    """Every tensor that is stored in a model or in a part of it."""
    return _found(message, TensorProto)


def values_of(message: Message) -> Iterator[ValueInfoProto]:
    """Every declared type and shape."""
    return _found(message, ValueInfoProto)


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators."""
    return max((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), default=1)


def inputs_of(node: NodeProto) -> list[str]:
    """What a node reads, and what its branches and bodies read from around them."""
    names = [name for name in node.input if name]
    for inner in subgraphs_of(node):
        names += captured_by(inner)
    return names


def captured_by(graph: GraphProto) -> list[str]:
    """Names that a branch or body takes from around it."""
    own = {each.name for each in (*graph.input, *graph.initializer)}
    own |= {each.values.name for each in graph.sparse_initializer}
    own |= {name for node in graph.node for name in node.output}
    read = [name for node in graph.node for name in inputs_of(node)] + [each.name for each in graph.output]
    return [name for name in dict.fromkeys(read) if name not in own]


def texts_of(message: Message) -> Iterator[str | bytes]:
    """Every text of a model, as bytes where it is none: the parser lets them pass."""
    rest = [message]
    while rest:
        for field, value in rest.pop().ListFields():
            if field.message_type is not None:
                rest.extend(value if field.is_repeated else (value,))
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield from value if field.is_repeated else (value,)


def _found(message: Message, kind: type[M]) -> Iterator[M]:
    """By type, through every field there is: a place that nobody thought of cannot hide one."""
    rest = [message]
    while rest:
        each = rest.pop()
        if isinstance(each, kind):
            yield each
            continue
        for field, value in each.ListFields():
            if field.message_type is not None:
                rest.extend(reversed(value) if field.is_repeated else (value,))
