"""Drop what a quantized graph does not need to run, so that its size is honest."""

from collections.abc import Iterator
from typing import Final

from onnx import GraphProto, ModelProto, TensorProto

# Larger ones are weights, that hardly ever repeat.
_SMALL_BYTES: Final = 1 << 14


def prune(model: ModelProto) -> None:
    """Unused initializers, inferred shapes and doc strings go; equal small initializers become one."""
    graph = model.graph
    _share_equal(graph)
    used = set(_used(graph))
    for each in [each for each in graph.initializer if each.name not in used]:
        graph.initializer.remove(each)
    graph.ClearField("value_info")
    for node in graph.node:
        node.ClearField("doc_string")
    # The quantizer's own notes to itself.
    kept = [each for each in model.metadata_props if not each.key.startswith("onnx.")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def _used(graph: GraphProto) -> Iterator[str]:
    """Names read in a graph and in the branches and bodies within."""
    yield from (each.name for each in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _used(inner)


def _share_equal(graph: GraphProto) -> None:
    """Scales and zero points repeat from layer to layer."""
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for each in graph.initializer:
        if each.ByteSize() <= _SMALL_BYTES:
            kept = first.setdefault(_content(each), each.name)
            if kept != each.name:
                renamed[each.name] = kept
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def _content(tensor: TensorProto) -> bytes:
    anonymous = TensorProto()
    anonymous.CopyFrom(tensor)
    anonymous.ClearField("name")
    content: bytes = anonymous.SerializeToString(deterministic=True)
    return content
