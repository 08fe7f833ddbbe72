"""What a Parquet file claims to hold, read by ourselves before Arrow reads a page.

Arrow believes page headers, whatever the footer says, and unpacks what a few bytes of run lengths ask for; and some
contradictions within a footer end the process. Field numbers: parquet.thrift of the Apache Parquet format.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from quanary.quantizer.data.thrift import Struct, read_struct

FOOTER_LIMIT_BYTES: Final = 4 << 20

_PAGE_HEADER_LIMIT_BYTES: Final = 64 << 10
_MAGIC: Final = b"PAR1"
_WIDTHS: Final = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 8}  # by physical type; 7 has one of its own
_FIXED: Final = 7


@dataclass(frozen=True)
class Chunk:
    """One column of a row group: where its pages are, and what they are said to hold. `width`: bytes of a value."""

    column: str
    width: int
    values: int
    unpacked_bytes: int
    start: int
    end: int


@dataclass(frozen=True)
class RowGroup:
    """Some rows, and a chunk for each innermost column."""

    rows: int
    chunks: tuple[Chunk, ...]

    def unpacked_bytes(self, columns: frozenset[str]) -> int:
        """What those columns take once unpacked, with four bytes a value for where its lists begin and end."""
        chunks = [each for each in self.chunks if each.column in columns]
        return sum(each.values * (each.width + 4) + each.unpacked_bytes for each in chunks)


def read_row_groups(file: BinaryIO) -> tuple[RowGroup, ...]:
    """The footer of a Parquet file.

    Raises:
        ValueError, EOFError: it is damaged, or contradicts itself.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(size - 12, FOOTER_LIMIT_BYTES):
        message = f"no Parquet footer of at most {FOOTER_LIMIT_BYTES} bytes at its end"
        raise ValueError(message)
    file.seek(size - 8 - length)
    footer = read_struct(io.BytesIO(file.read(length)))
    leaves = [_width(each) for each in _structs(footer, 2)[1:] if not each.get(5)]
    groups = tuple(_row_group(each, leaves, size) for each in _structs(footer, 4))
    if sum(group.rows for group in groups) != _natural(footer, 3):
        message = f"{footer[3]} rows in all, but {sum(group.rows for group in groups)} in its row groups"
        raise ValueError(message)
    return groups


def check_pages(file: BinaryIO, chunk: Chunk) -> None:
    """Hold the headers of a chunk's pages against its footer.

    Raises:
        ValueError, EOFError: they hold more values, or unpack to more bytes.
    """
    position, values, size = chunk.start, 0, 0
    # Of a chunk without values nothing is read, and its place means nothing.
    while chunk.values and position < chunk.end:
        file.seek(position)
        window = io.BytesIO(file.read(_PAGE_HEADER_LIMIT_BYTES))
        header = read_struct(window)
        size += _natural(header, 2)
        # Of a data page, version 1 or 2.
        values += sum(_natural(header[each], 1) for each in (5, 8) if each in header)
        position += window.tell() + _natural(header, 3)
    if values > chunk.values or size > chunk.unpacked_bytes:
        message = f"pages of {values} values and {size} bytes in column {chunk.column},"
        message += f" whose footer claims {chunk.values} values and {chunk.unpacked_bytes} bytes"
        raise ValueError(message)


def _width(element: Struct) -> int:
    kind = _natural(element, 1)
    return _natural(element, 2) if kind == _FIXED else _WIDTHS.get(kind, 8)


def _row_group(group: Struct, widths: list[int], file_size: int) -> RowGroup:
    columns = _structs(group, 1)
    if len(columns) != len(widths):
        message = f"{len(columns)} columns in a row group, {len(widths)} in the schema"
        raise ValueError(message)
    return RowGroup(_natural(group, 3), tuple(_chunks(columns, widths, file_size)))


def _chunks(columns: list[Struct], widths: list[int], file_size: int) -> Iterator[Chunk]:
    for column, width in zip(columns, widths, strict=True):
        about = column.get(3)
        if 1 in column or not isinstance(about, dict):
            raise ValueError("a column in another file")
        path = about.get(3)
        if not isinstance(path, list) or not path or not isinstance(path[0], bytes):
            raise ValueError("a column without a name")
        values, (start, end) = _natural(about, 5), _place(about)
        if values and (start < len(_MAGIC) or end > file_size):
            message = f"a column from byte {start} to {end} of {file_size}"
            raise ValueError(message)
        yield Chunk(path[0].decode(), width, values, _natural(about, 6), start, end)


def _place(about: Struct) -> tuple[int, int]:
    data, dictionary = _natural(about, 9), _natural(about, 11) if 11 in about else 0
    start = min(data, dictionary or data)
    return start, start + _natural(about, 7)


def _structs(fields: Struct, number: int) -> list[Struct]:
    values = fields.get(number)
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        message = f"field {number} is no list of structures"
        raise ValueError(message)
    return values


def _natural(fields: Any, number: int) -> int:
    value = fields.get(number) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        message = f"field {number} is no number of bytes, values or rows"
        raise ValueError(message)
    return value
