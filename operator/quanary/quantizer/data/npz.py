"""Shards in numpy's .npz format: foreign bytes, checked by their heads before an array is made of them.

Nothing is unpickled, and no array is read that claims another size than its file has.
"""

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

import numpy as np

from quanary.quantizer.data.samples import GROUP, LABEL, Sample, group_of
from quanary.quantizer.data.shapes import (
    BOTH_ALLOWED,
    LABEL_ALLOWED,
    Contents,
    input_shape,
    is_dtype,
    keys_of,
    label_text,
    refuse_misspelt,
)
from quanary.quantizer.data.shards import SHARD_LIMIT_BYTES, Shard, too_large
from quanary.quantizer.inference import Array, TensorSpec
from quanary.wire.report import RefusedError

# What zipfile and numpy raise on a file that is damaged or wants to be unpickled; RuntimeError: encrypted.
DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, KeyError, EOFError, OSError, RuntimeError, SyntaxError,
)  # fmt: skip
# The others may ask for any amount of memory to unpack a few bytes.
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


@dataclass(frozen=True)
class ArrayHead:
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def text(self) -> str:
        """For messages."""
        return f"{self.dtype}{list(self.shape)}"


def inspect(shard: Shard, inputs: tuple[TensorSpec, ...], field: str) -> Contents:
    """What a shard holds, by the heads of its arrays.

    Raises:
        RefusedError: naming the shard, the array, what it is and what the model takes.
    """
    heads = _heads(shard, field)
    refuse_misspelt(heads, inputs, f"shard {shard.name}", field)
    has_label, has_group = keys_of(heads, inputs)
    for spec in inputs:
        _check_input(heads, spec, shard, field)
    label = label_text(heads[LABEL].dtype, len(heads[LABEL].shape) - 1) if has_label else ""
    if has_label and not (label and heads[LABEL].shape):
        raise RefusedError(f"{field}.uri", f"shard {shard.name}: {LABEL} {heads[LABEL].text}", LABEL_ALLOWED)
    keys = [spec.name for spec in inputs] + [LABEL] * has_label + [GROUP] * has_group
    lengths = {key: heads[key].shape[0] if heads[key].shape else 0 for key in keys}
    if len(set(lengths.values())) > 1:
        found = f"shard {shard.name} with lengths {lengths}"
        raise RefusedError(f"{field}.uri", found, "the same first axis in all arrays")
    return Contents(min(lengths.values()), label, has_group)


def read(shard: Shard, inputs: tuple[TensorSpec, ...], field: str) -> Iterator[Sample]:
    """The samples of a shard that was inspected.

    Raises:
        RefusedError: it is damaged.
    """
    has_label, has_group = keys_of(_heads(shard, field), inputs)
    keys = [spec.name for spec in inputs] + [LABEL] * has_label + [GROUP] * has_group
    try:
        with np.load(shard.file, allow_pickle=False) as archive:
            arrays: dict[str, Array] = {key: archive[key] for key in keys}
    except DAMAGE as error:
        raise shard.damaged(field, error) from error
    for index in range(len(arrays[keys[0]])):
        feed = {spec.name: _one(arrays[spec.name], index, spec) for spec in inputs}
        label = np.asarray(arrays[LABEL][index]) if has_label else None
        group = group_of(arrays[GROUP][index].tolist()) if has_group else None
        yield Sample(shard.name, index, feed, label, group)


def _heads(shard: Shard, field: str) -> dict[str, ArrayHead]:
    """Headers of all arrays in a shard; the file is left at its start."""
    heads: dict[str, ArrayHead] = {}
    shard.file.seek(0)
    try:
        with zipfile.ZipFile(shard.file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > SHARD_LIMIT_BYTES:
                raise too_large(field, shard.name, size)
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in heads or info.compress_type not in _COMPRESSIONS:
                    raise zipfile.BadZipFile(f"{info.filename} is there twice, or compressed as numpy does not")
                with archive.open(info) as member:
                    heads[name] = _head(member, info)
    except DAMAGE as error:
        raise shard.damaged(field, error) from error
    shard.file.seek(0)
    return heads


def _head(member: IO[bytes], info: zipfile.ZipInfo) -> ArrayHead:
    version = np.lib.format.read_magic(member)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(member)
    # numpy would allocate what the header claims before it reads a byte; two axes below zero claim what is there.
    claimed, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
    if not dtype.hasobject and (claimed != there or min(shape, default=0) < 0):
        message = f"{info.filename} claims {dtype}{list(shape)}, {claimed} bytes, and has {there}"
        raise ValueError(message)
    return ArrayHead(shape, dtype)


def _check_input(heads: dict[str, ArrayHead], spec: TensorSpec, shard: Shard, field: str) -> None:
    head = heads.get(spec.name)
    if head is None:
        found = f"shard {shard.name} with arrays {', '.join(sorted(heads)) or 'none'}"
        raise RefusedError(f"{field}.uri", found, f"an array for every input: {spec.text}")
    if not is_dtype(head.dtype, spec) or not head.shape or input_shape(head.shape[1:], spec) is None:
        found = f"shard {shard.name}: {spec.name} {head.text}"
        raise RefusedError(f"{field}.uri", found, f"{spec.text}, {BOTH_ALLOWED}")


def _one(array: Array, index: int, spec: TensorSpec) -> Array:
    # A copy: who keeps a sample should not keep its whole shard.
    row = np.array(array[index], order="C")
    shape = input_shape(row.shape, spec)
    assert shape is not None, "the head was checked"
    return row.reshape(shape).astype(object) if spec.dtype == "object" else row.reshape(shape)
