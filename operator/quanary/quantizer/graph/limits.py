"""How large a model may claim to be, checked on what it says before anything is done with it."""

import math
from collections.abc import Callable, Iterator, Sized
from typing import Final

from onnx import GraphProto, ModelProto, TensorProto

from quanary.quantizer.graph.walk import all_nodes, subgraphs_of, tensors_of, texts_of, values_of
from quanary.wire.report import RefusedError

FILE_BYTES: Final = (2 << 30) - 1  # of one protobuf message
TENSOR_BYTES: Final = 16 << 30
SOURCE_BYTES: Final = TENSOR_BYTES + FILE_BYTES  # of a tar
NODES: Final = 200_000
TENSORS: Final = 200_000
DEPTH: Final = 16
NAME_LENGTH: Final = 4096
AXES: Final = 16
ELEMENTS: Final = 1 << 36

_BITS: Final = {
    bits: frozenset(TensorProto.DataType.Value(name) for name in names.split())
    for bits, names in {
        2: "UINT2 INT2",
        4: "UINT4 INT4 FLOAT4E2M1",
        8: "UINT8 INT8 BOOL FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0",
        16: "UINT16 INT16 FLOAT16 BFLOAT16",
        32: "FLOAT INT32 UINT32",
        64: "INT64 UINT64 DOUBLE COMPLEX64",
        128: "COMPLEX128",
    }.items()
}
BITS: Final = {kind: bits for bits, kinds in _BITS.items() for kind in kinds}

Refuse = Callable[[str, str], RefusedError]


def check_limits(model: ModelProto, refuse: Refuse) -> None:
    """Refuse what is larger than a model can be, or says that it is.

    Raises:
        RefusedError: naming the first node, tensor or value that is.
    """
    for text in texts_of(model):
        if not isinstance(text, str):
            raise refuse(f"a text {text[:80]!r} that is none", "UTF-8")
    _check_depth(model, refuse)
    _check_nodes(model, refuse)
    _check_tensors(model, refuse)
    for value in values_of(model):
        dims = [each.dim_value for each in value.type.tensor_type.shape.dim]
        # Below 1: some exporters' way to say that it varies.
        if math.prod(size for size in dims if size > 0) > ELEMENTS:
            raise refuse(f"a value {value.name[:80]!r} of shape {dims[:AXES]}", f"at most {ELEMENTS} elements")


def bytes_of(tensor: TensorProto) -> int:
    """What a tensor's type and shape say it holds; 0 for strings, that say nothing."""
    return -(-_elements(tensor) * BITS.get(tensor.data_type, 0) // 8)


def _check_depth(model: ModelProto, refuse: Refuse) -> None:
    level: list[GraphProto] = [model.graph]
    level += [inner for each in model.functions for node in each.node for inner in subgraphs_of(node)]
    for _ in range(DEPTH):
        level = [inner for graph in level for node in graph.node for inner in subgraphs_of(node)]
        if not level:
            return
    raise refuse(f"branches and loops more than {DEPTH} deep", f"at most {DEPTH} levels")


def _check_nodes(model: ModelProto, refuse: Refuse) -> None:
    count = 0
    for part in (model.graph, *model.functions):
        for node in all_nodes(part):
            count += 1
            for name in (node.name, node.domain, node.op_type, *node.input, *node.output):
                _check_name("node", name, refuse)
    if count > NODES:
        raise refuse(f"{count} nodes", f"at most {NODES}")


def _check_name(kind: str, name: str, refuse: Refuse) -> None:
    if len(name) > NAME_LENGTH:
        raise refuse(f"a {kind} with a name of {len(name)} characters", f"at most {NAME_LENGTH}")


def _check_tensors(model: ModelProto, refuse: Refuse) -> None:
    total = 0
    for count, tensor in enumerate(tensors_of(model), 1):
        if count > TENSORS:
            raise refuse(f"more than {TENSORS} tensors", f"at most {TENSORS}")
        _check_name("tensor", tensor.name, refuse)
        _check_tensor(tensor, refuse)
        total += bytes_of(tensor)
        if total > TENSOR_BYTES:
            raise refuse(f"tensors of more than {TENSOR_BYTES >> 30} GiB", f"at most {TENSOR_BYTES >> 30} GiB")


def _check_tensor(tensor: TensorProto, refuse: Refuse) -> None:
    dims = list(tensor.dims)
    what = f"a tensor {tensor.name[:80]!r} of shape {dims[:AXES]}"
    if len(dims) > AXES or min(dims, default=0) < 0:
        raise refuse(what, f"at most {AXES} axes, none below 0")
    if tensor.data_type not in BITS and tensor.data_type != TensorProto.STRING:
        raise refuse(f"{what} and unknown type {tensor.data_type}", "the types of ONNX")
    if tensor.HasField("segment"):
        raise refuse(f"{what} in segments", "whole tensors")
    if tensor.data_location != TensorProto.EXTERNAL:
        _check_content(tensor, what, refuse)


def _check_content(tensor: TensorProto, what: str, refuse: Refuse) -> None:
    """That it holds as much as it declares, no more and no less."""
    if tensor.external_data:
        raise refuse(f"{what} that is stored here and in an external file", "one place")
    held = [len(each) for each in _contents(tensor)]
    if tensor.HasField("raw_data"):
        fits = held == [] and len(tensor.raw_data) == bytes_of(tensor) and tensor.data_type != TensorProto.STRING
    else:
        fits = held == [_entries(tensor)] or (held == [] and _entries(tensor) == 0)
    if not fits:
        kept = f"{len(tensor.raw_data)} bytes" if tensor.HasField("raw_data") else f"{sum(held)} entries"
        raise refuse(f"{what} that holds {kept}", "as many as its shape and type say")


def _contents(tensor: TensorProto) -> Iterator[Sized]:
    fields = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    yield from (each for each in (*fields, tensor.string_data) if len(each))


def _elements(tensor: TensorProto) -> int:
    return math.prod(int(size) for size in tensor.dims)


def _entries(tensor: TensorProto) -> int:
    """Entries of the typed field: two a complex number, several a packed byte, else one an element."""
    elements = _elements(tensor)
    if tensor.data_type in {TensorProto.COMPLEX64, TensorProto.COMPLEX128}:
        return 2 * elements
    bits = int(BITS.get(tensor.data_type, 64))
    return elements if bits >= 8 else -(-elements * bits // 8)
