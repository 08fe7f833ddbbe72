"""Large tensors out of the way: while a graph is worked on they lie in one file, copied there piece by piece.

So a step costs the same for a model of a megabyte and one of many gigabytes, no message outgrows a protobuf, and after
the copy nobody opens the files that the model came with.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from onnx import ModelProto, TensorProto, numpy_helper

from quanary.artifacts.verify import CHUNK_BYTES
from quanary.quantizer.graph.external import is_external, open_beside, span_of
from quanary.quantizer.graph.limits import bytes_of
from quanary.quantizer.graph.read import FIELD
from quanary.quantizer.graph.walk import tensors_of
from quanary.wire.report import RefusedError

# Smaller ones stay in the graph: shapes and axes, that shape inference has to read.
SMALL_BYTES: Final = 1024
# A model with more than this in its tensors stays in two files.
ONE_FILE_BYTES: Final = 1 << 30

_ALIGNMENT: Final = 4096  # so that ONNX Runtime can map a tensor instead of reading it


def move_out(model: ModelProto, base: Path, to: Path) -> None:
    """Put every large initializer of `model` into the file `to`, wherever it was; small ones into the model.

    Raises:
        RefusedError: a file beside the model changed since it was checked.
    """
    with to.open("wb") as file:
        for tensor in model.graph.initializer:
            if bytes_of(tensor) > SMALL_BYTES:
                _append(tensor, base, file, to.name)
    for tensor in tensors_of(model):
        if is_external(tensor) and tensor.external_data[0].value != to.name:
            take_in(tensor, base)


def take_in(tensor: TensorProto, base: Path) -> None:
    """Put an external tensor into the model."""
    content = b"".join(_pieces(tensor, base))
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    tensor.raw_data = content


def write_model(model: ModelProto, base: Path, to: Path) -> None:
    """Write `model`, whose external data are in `base`: one file, or with `<name>.data` beside it if it is large."""
    total = sum(bytes_of(each) for each in tensors_of(model))
    if total > ONE_FILE_BYTES:
        move_out(model, base, to.with_name(f"{to.name}.data"))
    else:
        for tensor in tensors_of(model):
            if is_external(tensor):
                take_in(tensor, base)
    to.write_bytes(model.SerializeToString(deterministic=True))


def _append(tensor: TensorProto, base: Path, file: BinaryIO, location: str) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))
    offset = file.tell()
    file.writelines(_pieces(tensor, base))
    named = TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    named.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", file.tell() - offset)):
        named.external_data.add(key=key, value=str(value))
    tensor.CopyFrom(named)


def _pieces(tensor: TensorProto, base: Path) -> Iterator[bytes]:
    """The content, little-endian, wherever it is."""
    if not is_external(tensor):
        whole = tensor if tensor.HasField("raw_data") else numpy_helper.from_array(numpy_helper.to_array(tensor))
        yield whole.raw_data
        return
    span = span_of(tensor, _refuse)
    with open_beside(base, span.location, _refuse) as file:
        file.seek(span.offset)
        rest = span.length
        while rest:
            piece = file.read(min(rest, CHUNK_BYTES))
            if not piece:
                raise _refuse(
                    f"{span.location!r}, that ends before {span.tensor[:80]!r}", "a file that does not change"
                )
            rest -= len(piece)
            yield piece


def _refuse(found: str, allowed: str) -> RefusedError:
    return RefusedError(FIELD, found, allowed)
