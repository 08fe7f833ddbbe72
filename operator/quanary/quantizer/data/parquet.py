"""Parquet shards: a column for every input, `label` and `group`; streamed by record batches.

Lists, fixed or nested, are rows of more than one number. A file of a few bytes can unpack to terabytes, so what the
footer claims is bounded before a page is read.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quanary.quantizer.data.columns import Column, is_list, leaf_of, storage_of
from quanary.quantizer.data.pages import RowGroup, check_pages, read_row_groups
from quanary.quantizer.data.samples import GROUP, LABEL, Sample, group_of
from quanary.quantizer.data.shapes import (
    LABEL_ALLOWED,
    Contents,
    flat_shape,
    input_shape,
    keys_of,
    label_text,
    refuse_misspelt,
)
from quanary.quantizer.data.shards import Shard
from quanary.quantizer.inference import Array, TensorSpec
from quanary.wire.report import RefusedError

# Of the values of one row group once unpacked, and of those read at once.
ROW_GROUP_LIMIT_BYTES: Final = 1 << 30
BATCH_BYTES: Final = 32 << 20

_MOST_BATCH_ROWS: Final = 4096
_THRIFT_LIMITS: Final = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 18}
_DAMAGE: Final = (pa.ArrowException, OSError, EOFError, ValueError, KeyError, RuntimeError)
_DTYPES: Final = {
    pa.string(): "object",
    pa.large_string(): "object",
    pa.bool_(): "bool",
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
} | {getattr(pa, name)(): name for name in (f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def inspect(shard: Shard, inputs: tuple[TensorSpec, ...], field: str) -> Contents:
    """What a shard holds, by its footer.

    Raises:
        RefusedError: naming the shard, the column, what it is and what the model takes.
    """
    groups, file = _open(shard, field)
    schema = file.schema_arrow
    if repeated := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        raise RefusedError(f"{field}.uri", f"shard {shard.name}: column {repeated[0]} twice", "columns of other names")
    refuse_misspelt(schema.names, inputs, f"shard {shard.name}", field)
    has_label, has_group = keys_of(schema.names, inputs)
    for spec in inputs:
        _check_input(schema, spec, shard, field)
    label = ""
    if has_label:
        type_ = schema.field(LABEL).type
        label = label_text(np.dtype("U" if _dtype(type_) == "object" else _dtype(type_) or "V"), _axes(type_))
        if not label:
            raise RefusedError(f"{field}.uri", f"shard {shard.name}: column {LABEL} {type_}", LABEL_ALLOWED)
    _check_sizes(groups, frozenset(_wanted(file, inputs)), shard, field)
    return Contents(sum(group.rows for group in groups), label, has_group)


def read(shard: Shard, inputs: tuple[TensorSpec, ...], field: str) -> Iterator[Sample]:
    """The samples of a shard that was inspected.

    Raises:
        RefusedError: it is damaged, or a row is no input of the model; the column and the row are named.
    """
    groups, file = _open(shard, field)
    names = _wanted(file, inputs)
    has_label, has_group = keys_of(names, inputs)
    index = 0
    try:
        for batch in file.iter_batches(_batch_rows(groups, frozenset(names)), columns=names, use_threads=False):
            columns = {name: Column(name, batch.column(name)) for name in names}
            for row in range(batch.num_rows):
                where = f"shard {shard.name}, sample {index}"
                feed = {spec.name: _input(columns[spec.name], row, spec, where, field) for spec in inputs}
                label = columns[LABEL].row(row, where, field) if has_label else None
                group = group_of(columns[GROUP].value(row, where, field)) if has_group else None
                yield Sample(shard.name, index, feed, _label(label), group)
                index += 1
    except _DAMAGE as error:
        raise shard.damaged(field, error) from error
    if index != sum(group.rows for group in groups):
        raise shard.damaged(field, EOFError(f"{index} rows of those it claims"))


def _open(shard: Shard, field: str) -> tuple[tuple[RowGroup, ...], pq.ParquetFile]:
    try:
        groups = read_row_groups(shard.file)
        shard.file.seek(0)
        plain = pq.ParquetFile(shard.file, **_THRIFT_LIMITS)
        # Text stays packed as its dictionary: a long one repeated a million times is one text in memory.
        texts = [
            plain.schema.column(leaf).path
            for leaf in range(len(plain.schema))
            if plain.schema.column(leaf).physical_type == "BYTE_ARRAY"
        ]
        file = pq.ParquetFile(
            shard.file,
            read_dictionary=texts,
            buffer_size=1 << 20,
            pre_buffer=False,
            page_checksum_verification=True,
            **_THRIFT_LIMITS,
        )
    except _DAMAGE as error:
        raise shard.damaged(field, error) from error
    return groups, file


def _wanted(file: pq.ParquetFile, inputs: tuple[TensorSpec, ...]) -> list[str]:
    has_label, has_group = keys_of(file.schema_arrow.names, inputs)
    return [spec.name for spec in inputs] + [LABEL] * has_label + [GROUP] * has_group


def _dtype(type_: pa.DataType) -> str:
    return _DTYPES.get(leaf_of(type_), "")


def _axes(type_: pa.DataType) -> int:
    type_ = storage_of(type_)
    return 1 + _axes(type_.value_type) if is_list(type_) else 0


def _check_input(schema: pa.Schema, spec: TensorSpec, shard: Shard, field: str) -> None:
    if spec.name not in schema.names:
        found = f"shard {shard.name} with columns {', '.join(schema.names) or 'none'}"
        raise RefusedError(f"{field}.uri", found, f"a column for every input: {spec.text}")
    type_ = schema.field(spec.name).type
    if _dtype(type_) != spec.dtype:
        found = f"shard {shard.name}: column {spec.name} {leaf_of(type_) if pa.types.is_dictionary(type_) else type_}"
        raise RefusedError(f"{field}.uri", found, f"{spec.text}, numbers or lists of them of that very type")


def _check_sizes(groups: tuple[RowGroup, ...], names: frozenset[str], shard: Shard, field: str) -> None:
    for number, group in enumerate(groups):
        size = group.unpacked_bytes(names)
        if size > ROW_GROUP_LIMIT_BYTES:
            found = f"shard {shard.name}: row group {number} that unpacks to {size} bytes"
            allowed = f"row groups of at most {ROW_GROUP_LIMIT_BYTES} bytes; write it with a smaller row_group_size"
            raise RefusedError(f"{field}.uri", found, allowed)
        try:
            for chunk in group.chunks:
                if chunk.column in names:
                    check_pages(shard.file, chunk)
        except _DAMAGE as error:
            raise shard.damaged(field, error) from error


def _batch_rows(groups: tuple[RowGroup, ...], names: frozenset[str]) -> int:
    largest = max((group.unpacked_bytes(names) // max(group.rows, 1) for group in groups), default=1)
    return max(1, min(_MOST_BATCH_ROWS, BATCH_BYTES // max(1, largest)))


def _input(column: Column, index: int, spec: TensorSpec, where: str, field: str) -> Array:
    row = column.row(index, where, field)
    shape = input_shape(row.shape, spec) or (flat_shape(row.size, spec) if row.ndim < 2 else None)
    if shape is None:
        found = f"{where}: column {spec.name} with {row.dtype}{list(row.shape)}"
        raise RefusedError(f"{field}.uri", found, f"{spec.text}, nested or in one flat list, one sample a row")
    return row.reshape(shape)


def _label(row: Array | None) -> Array | None:
    return row.astype(np.str_) if row is not None and row.dtype.kind == "O" else row
