"""Thrift's compact protocol, read only: structures as dictionaries by field number, lists, numbers and bytes.

Specification: thrift/doc/specs/thrift-compact-protocol.md.
"""

import io
from typing import Any, Final

Struct = dict[int, Any]

_DEPTH_LIMIT: Final = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS: Final = (4, 5, 6)


def read_struct(stream: io.BytesIO, depth: int = _DEPTH_LIMIT) -> Struct:
    """The structure at the stream's position, which is left behind it. Memory is in proportion to the bytes read.

    Raises:
        ValueError: there is none.
        EOFError: it does not end.
    """
    if not depth:
        raise ValueError("structures of too many levels")
    fields: Struct = {}
    number = 0
    while head := _byte(stream):
        delta, kind = head >> 4, head & 15
        number = number + delta if delta else _integer(stream)
        fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else _value(stream, kind, depth)
    return fields


def _value(stream: io.BytesIO, kind: int, depth: int) -> Any:
    if kind in _INTEGERS:
        return _integer(stream)
    if kind == _STRUCT:
        return read_struct(stream, depth - 1)
    if kind in (_LIST, _SET):
        return _list(stream, depth - 1)
    if kind == _BINARY:
        return _bytes(stream, _varint(stream))
    if kind == _DOUBLE:
        return _bytes(stream, 8)
    if kind in (_TRUE, _FALSE, _BYTE):
        return _byte(stream)
    message = f"a field of kind {kind}"
    raise ValueError(message)


def _list(stream: io.BytesIO, depth: int) -> list[Any]:
    head = _byte(stream)
    size = head >> 4 if head >> 4 < 15 else _varint(stream)
    if not depth:
        raise ValueError("lists of too many levels")
    # Every value takes a byte at least, so a size that lies meets the end of the stream.
    return [_value(stream, head & 15, depth) for _ in range(size)]


def _bytes(stream: io.BytesIO, size: int) -> bytes:
    if len(content := stream.read(size)) != size:
        raise EOFError("a text that does not end")
    return content


def _byte(stream: io.BytesIO) -> int:
    return _bytes(stream, 1)[0]


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = _byte(stream)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
        shift += 7
        if shift > 63:
            raise ValueError("a number that does not end")


def _integer(stream: io.BytesIO) -> int:
    value = _varint(stream)
    return (value >> 1) ^ -(value & 1)
