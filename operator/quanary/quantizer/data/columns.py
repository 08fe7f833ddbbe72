"""Rows of an Arrow column as numpy arrays: numbers, text, and lists of them to any depth."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quanary.quantizer.inference import Array
from quanary.wire.report import RefusedError

Offsets = npt.NDArray[np.int64]

_WHOLE: Final = "a value in every row and every list"


class Column:
    """One column of a record batch, taken apart once: the edges of its lists, level by level, and its numbers."""

    def __init__(self, name: str, array: pa.Array) -> None:
        self._name = name
        self._array = array
        self._levels: list[tuple[Offsets, npt.NDArray[np.bool_] | None]] = []
        level = _storage(array)
        while is_list(level.type):
            self._levels.append((_offsets(level), _validity(level)))
            level = _storage(level.values)
        self._validity = _validity(level)
        self._text = level if pa.types.is_dictionary(level.type) or _is_text(level.type) else None
        self._numbers: Array = np.empty(0) if self._text is not None else _numbers(level)

    def row(self, index: int, where: str, field: str) -> Array:
        """A row with its lists as axes.

        Raises:
            RefusedError: it is ragged, or a value is missing in it.
        """
        start, stop = index, index + 1
        shape: list[int] = []
        for offsets, validity in self._levels:
            self._require(validity, start, stop, where, field)
            lengths = np.diff(offsets[start : stop + 1])
            if lengths.size and (lengths != lengths[0]).any():
                found = f"{where}: column {self._name} with lists of {lengths.min()} to {lengths.max()} values"
                raise RefusedError(f"{field}.uri", found, "lists of one length within a row")
            shape.append(int(lengths[0]) if lengths.size else 0)
            start, stop = int(offsets[start]), int(offsets[stop])
        self._require(self._validity, start, stop, where, field)
        if self._text is None:
            # A copy: who keeps a row should not keep its whole batch.
            return self._numbers[start:stop].reshape(shape).copy()
        texts = np.empty(stop - start, dtype=object)
        texts[:] = self._text.slice(start, stop - start).to_pylist()
        return texts.reshape(shape)

    def value(self, index: int, where: str, field: str) -> Any:
        """A row as Python has it.

        Raises:
            RefusedError: there is none.
        """
        value = self._array[index].as_py()
        if value is None:
            raise RefusedError(f"{field}.uri", f"{where}: column {self._name} without a value", _WHOLE)
        return value

    def _require(self, validity: npt.NDArray[np.bool_] | None, start: int, stop: int, where: str, field: str) -> None:
        if validity is not None and not validity[start:stop].all():
            raise RefusedError(f"{field}.uri", f"{where}: column {self._name} without a value", _WHOLE)


def is_list(type_: pa.DataType) -> bool:
    """Whether its rows are lists, of fixed or of their own length."""
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_))


def leaf_of(type_: pa.DataType) -> pa.DataType:
    """The type of what is in the innermost list, text that is stored as a dictionary being text."""
    type_ = storage_of(type_)
    if is_list(type_):
        return leaf_of(type_.value_type)
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def storage_of(type_: pa.DataType) -> pa.DataType:
    """A tensor type's own lists."""
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _offsets(level: pa.Array) -> Offsets:
    if pa.types.is_fixed_size_list(level.type):
        # `values` are those of the whole buffer, which a slice begins in the middle of.
        return np.asarray((np.arange(len(level) + 1) + level.offset) * level.type.list_size, np.int64)
    return np.asarray(level.offsets.to_numpy(zero_copy_only=False), np.int64)


def _validity(level: pa.Array) -> npt.NDArray[np.bool_] | None:
    return np.asarray(level.is_valid().to_numpy(zero_copy_only=False)) if level.null_count else None


def _numbers(level: pa.Array) -> Array:
    filled = level.fill_null(pa.scalar(0, level.type)) if level.null_count else level
    return np.asarray(filled.to_numpy(zero_copy_only=False))
