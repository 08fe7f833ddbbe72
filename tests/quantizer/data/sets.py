"""Small data sets in every format, and what is refused of them."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quanary.quantizer.data import DataSet, digest_of_data, open_data
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError

FIELD = "spec.validation.data"
X = TensorSpec("x", "float32", (None, 3))
STATE = TensorSpec("state", "float32", (2, 1))

Floats = npt.NDArray[np.float32]


def numbered(start: int, count: int) -> Floats:
    """Rows of three; the first number of row k is 3 k."""
    return np.arange(start * 3, (start + count) * 3, dtype=np.float32).reshape(count, 3)


def opened(path: Path, *inputs: TensorSpec) -> DataSet:
    return open_data(path, digest_of_data(path), FIELD, inputs or (X,))


def refusal_of(path: Path, *inputs: TensorSpec) -> str:
    """The sentence with which a set is refused, when it is opened or when it is read."""
    with pytest.raises(RefusedError) as caught:
        list(opened(path, *inputs).read())
    assert caught.value.refusal.field == f"{FIELD}.uri"
    return caught.value.refusal.sentence


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tar_of(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def save_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def lists(rows: npt.NDArray[Any]) -> Any:
    """An array of rows as nested lists of their own length, as a Parquet writer that knows no better has them."""
    column = pa.array(rows.ravel())
    for axis in range(rows.ndim - 1, 0, -1):
        edges = np.arange(0, len(column) + 1, rows.shape[axis], dtype=np.int32)
        column = pa.ListArray.from_arrays(pa.array(edges), column)
    return column


def fixed_lists(rows: npt.NDArray[Any]) -> Any:
    """The same as lists of a fixed size."""
    column = pa.array(rows.ravel())
    for size in rows.shape[:0:-1]:
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column
