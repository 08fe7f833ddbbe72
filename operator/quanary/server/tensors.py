"""One tensor as bytes and back: JSON and the binary extension. Pure.

Everything that comes in is hostile until checked: shape, count and byte lengths. Every refusal says what was found and
what is allowed.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from sys import getsizeof
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from quanary.wire.inference import BINARY, ELEMENT_BYTES, FlatInput, InputTensor, OutputTensor

# By name, in the model's order.
Tensors = Mapping[str, NDArray[Any]]
Tensor = InputTensor | FlatInput | OutputTensor

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}
LENGTH_BYTES: Final = 4  # before each BYTES element
_PACKED_LIMIT: Final = 1024
_RANK_LIMIT: Final = 8  # of nested JSON data
# A dimension of zero must not carry others that no array can have.
_ELEMENTS_LIMIT: Final = 2**31
_PYTHON_TYPES: Final[dict[str, type]] = {"b": bool, "i": int, "u": int, "f": float, "O": str}


class Malformed(ValueError):  # noqa: N818
    """A message that breaks the protocol or does not fit the model; the text is for its sender."""


def held_bytes(array: NDArray[Any]) -> int:
    """How much memory an array holds, the texts of BYTES included."""
    return array.nbytes + (sum(map(getsizeof, array.ravel().tolist())) if array.dtype.kind == "O" else 0)


def read_tensors(
    tensors: Sequence[Tensor], tail: memoryview, numbers: Mapping[str, NDArray[np.float64]] = MappingProxyType({})
) -> dict[str, NDArray[Any]]:
    """Arrays out of described tensors and the bytes that follow the JSON part; `numbers` are data read already.

    Raises:
        Malformed: a shape, a count or a length is a lie, a datatype unknown, a name given twice.
    """
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for tensor in tensors:
        name = tensor.name
        if name in arrays:
            message = f"tensor {quote(name)} is given twice"
            raise Malformed(message)
        size = _binary_size(tensor, len(tail) - offset)
        count = _count(tensor)
        if size is None:
            values = numbers[name] if name in numbers else _flat_values(tensor)
            arrays[name] = _of_values(tensor, values, count)
        else:
            arrays[name] = _of_bytes(tensor, tail[offset : offset + size], count)
            offset += size
    if offset != len(tail):
        message = f"{len(tail)} bytes follow the JSON part; its tensors account for {offset}"
        raise Malformed(message)
    return arrays


def from_bytes(tensor: Tensor, data: memoryview) -> NDArray[Any]:
    """The array that `data` holds.

    Raises:
        Malformed: `data` does not hold exactly the elements that the shape takes.
    """
    return _of_bytes(tensor, data, _count(tensor))


def from_values(tensor: Tensor, values: Sequence[Any] | NDArray[np.float64]) -> NDArray[Any]:
    """The array of Python values, given flat: numbers, truth values, text or UTF-8.

    Raises:
        Malformed: they are not as many as the shape takes, or lie outside of the datatype.
    """
    return _of_values(tensor, values, _count(tensor))


def to_bytes(array: NDArray[Any], datatype: str) -> bytes:
    """Elements in row-major order as the binary extension writes them."""
    if datatype != "BYTES":
        return array.astype(DTYPES[datatype], copy=False).tobytes()
    items = [str(item).encode() for item in array.ravel().tolist()]
    return b"".join(len(item).to_bytes(LENGTH_BYTES, "little") + item for item in items)


def to_json(name: str, array: NDArray[Any], datatype: str) -> Any:
    """Elements in row-major order as a JSON writer that knows numpy takes them; NaN and infinity become null.

    Raises:
        Malformed: the datatype has no JSON form.
    """
    if datatype == "FP16":
        message = f"output {quote(name)}: FP16 has no JSON form; ask for it with binary_data"
        raise Malformed(message)
    if datatype == "BYTES":
        return [str(item) for item in array.ravel().tolist()]
    return array.ravel()


def _binary_size(tensor: Tensor, left: int) -> int | None:
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (tensor.data == BINARY):
        message = f"{_name(tensor)}: needs either data or the parameter binary_data_size"
        raise Malformed(message)
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
        message = f"{_name(tensor)}: found binary_data_size {quote(str(size))}; allowed: 0 to {left}, the bytes left"
        raise Malformed(message)
    return size


def _count(tensor: Tensor) -> int:
    if tensor.datatype not in ELEMENT_BYTES:
        message = f"{_name(tensor)}: found datatype {quote(tensor.datatype)}; allowed: {', '.join(ELEMENT_BYTES)}"
        raise Malformed(message)
    if tensor.shape and min(tensor.shape) < 0:
        message = f"{_name(tensor)}: found shape {shape_text(tensor.shape)}; allowed: no negative dimension"
        raise Malformed(message)
    count = math.prod(tensor.shape)
    if (count or math.prod(size or 1 for size in tensor.shape)) >= _ELEMENTS_LIMIT:
        message = (
            f"{_name(tensor)}: found shape {shape_text(tensor.shape)}; allowed: fewer than {_ELEMENTS_LIMIT} elements"
        )
        raise Malformed(message)
    return count


def _of_bytes(tensor: Tensor, data: memoryview, count: int) -> NDArray[Any]:
    if tensor.datatype == "BYTES":
        return _strings(tensor, _length_prefixed(tensor, data, count), count)
    expected = count * ELEMENT_BYTES[tensor.datatype]
    if len(data) != expected:
        message = f"{_name(tensor)}: found {len(data)} bytes; shape {shape_text(tensor.shape)} takes {expected}"
        raise Malformed(message)
    if tensor.datatype == "BOOL":
        return np.ndarray(tensor.shape, np.uint8, data).astype(np.bool_)
    dtype = DTYPES[tensor.datatype]
    array: NDArray[Any] = np.ndarray(tensor.shape, dtype, data)
    # Tensors follow JSON of any length, so their first byte may lie anywhere; that of `bytes` lies well.
    return array if array.flags.aligned else np.ndarray(tensor.shape, dtype, bytes(data))


def _length_prefixed(tensor: Tensor, data: memoryview, count: int) -> list[str]:
    items: list[str] = []
    offset = 0
    # One element too many is enough to know that the count is wrong.
    while offset < len(data) and len(items) <= count:
        start = offset + LENGTH_BYTES
        end = start + int.from_bytes(data[offset:start], "little")
        if end > len(data) or start > len(data):
            message = f"{_name(tensor)}: element {len(items)} reaches past the tensor's end"
            raise Malformed(message)
        items.append(_text(tensor, bytes(data[start:end])))
        offset = end
    return items


def _text(tensor: Tensor, item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError:
        message = f"{_name(tensor)}: found bytes that are no UTF-8; allowed: UTF-8"
        raise Malformed(message) from None


def _strings(tensor: Tensor, items: Sequence[str], count: int) -> NDArray[Any]:
    _check_count(tensor, len(items), count)
    array = np.empty(count, np.object_)
    array[:] = items
    return array.reshape(tensor.shape)


def _of_values(tensor: Tensor, values: Sequence[Any] | NDArray[np.float64], count: int) -> NDArray[Any]:
    if tensor.datatype == "BYTES":
        return _strings(tensor, [_text(tensor, each) if isinstance(each, bytes) else each for each in values], count)
    _check_count(tensor, len(values), count)
    dtype = DTYPES[tensor.datatype]
    try:
        if tensor.datatype == "FP32" and count <= _PACKED_LIMIT and not isinstance(values, np.ndarray):
            # Packing raises OverflowError, and is several times as fast as what numpy needs to.
            return np.ndarray(tensor.shape, dtype, _packer(count)(*values))
        return _narrow(values, dtype).reshape(tensor.shape)
    except (OverflowError, FloatingPointError):
        message = f"{_name(tensor)}: a value lies outside of {tensor.datatype}"
        raise Malformed(message) from None


def _narrow(values: Sequence[Any] | NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind != "f":
        return np.array(values, dtype)
    # By way of FP64: numpy turns a list's overflow into infinity, an array's into an error.
    with np.errstate(over="raise"):
        return np.asarray(values, np.float64).astype(dtype)


@cache
def _packer(count: int) -> Callable[..., bytes]:
    return struct.Struct(f"<{count}f").pack


def _flat_values(tensor: Tensor) -> list[Any]:
    if isinstance(tensor, FlatInput):
        return tensor.data
    if tensor.datatype == "FP16":
        message = f"{_name(tensor)}: FP16 has no JSON form; send it in binary"
        raise Malformed(message)
    text = bytes(tensor.data)
    rank = len(tensor.shape)
    is_nested = 1 < rank <= _RANK_LIMIT and text[1:64].lstrip()[:1] == b"["
    try:
        values = _data_decoder(tensor.datatype, rank if is_nested else 1).decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{_name(tensor)}: data: {error}"
        raise Malformed(message) from None
    for size in tensor.shape[1:] if is_nested else ():
        if any(len(row) != size for row in values):
            message = f"{_name(tensor)}: nested data does not have shape {shape_text(tensor.shape)}"
            raise Malformed(message)
        values = list(chain.from_iterable(values))
    flat: list[Any] = values
    return flat


@cache
def _data_decoder(datatype: str, depth: int) -> msgspec.json.Decoder[Any]:
    wanted: Any = _PYTHON_TYPES[DTYPES[datatype].kind]
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted)


def _check_count(tensor: Tensor, found: int, count: int) -> None:
    if found != count:
        message = f"{_name(tensor)}: found {found} elements; shape {shape_text(tensor.shape)} takes {count}"
        raise Malformed(message)


def _name(tensor: Tensor) -> str:
    return f"tensor {quote(tensor.name)}"


def quote(text: str) -> str:
    """`text` in quotes, cut so that nobody fills an answer or a log with it."""
    return repr(text if len(text) <= 100 else text[:100] + "…")


def shape_text(shape: Sequence[int]) -> str:
    """`shape` in brackets, cut likewise."""
    return f"[{', '.join(str(size) for size in shape[:16])}{', …' if len(shape) > 16 else ''}]"
