"""Archives of samples: a tar of .npz shards, the same bytes every time."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# By the model's input names, and `label`; the first axis is the samples'.
Arrays = Mapping[str, NDArray[Any]]


def write_tar(path: Path, arrays: Arrays, *, shard: int = 256) -> None:
    """Write `arrays` in shards of so many samples; no entry carries a time or an owner."""
    samples = len(next(iter(arrays.values())))
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, start in enumerate(range(0, samples, shard)):
            buffer = io.BytesIO()
            part = {name: array[start : start + shard] for name, array in arrays.items()}
            np.savez_compressed(buffer, **part)  # type: ignore[arg-type]
            entry = tarfile.TarInfo(f"{number:04}.npz")
            entry.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(entry, buffer)


def first(arrays: Arrays, samples: int) -> Arrays:
    """The first so many samples."""
    return {name: array[:samples] for name, array in arrays.items()}
