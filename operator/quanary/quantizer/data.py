"""Data sets: a folder or a tar of .npz shards, arrays keyed by input names, streamed one shard at a time.

Shards are foreign bytes. Nothing is unpacked to disk, nothing is unpickled, and what a shard claims to hold is checked
before it is read.
"""

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import numpy as np

from quanary.artifacts.verify import digest_of
from quanary.quantizer.inference import Array, TensorSpec
from quanary.wire.report import RefusedError

LABEL: Final = "label"
SHARD_LIMIT_BYTES: Final = 1 << 30

_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, NotImplementedError)


@dataclass(frozen=True)
class Sample:
    """One question to a model."""

    shard: str
    index: int
    feed: dict[str, Array]
    label: Array | None

    @property
    def where(self) -> str:
        """For messages."""
        return f"shard {self.shard}, sample {self.index}"

    @property
    def digest(self) -> bytes:
        """Of its inputs, to find a sample again in another set."""
        hasher = hashlib.sha256()
        for name in sorted(self.feed):
            hasher.update(f"{name} {self.feed[name].shape} ".encode() + self.feed[name].tobytes())
        return hasher.digest()


@dataclass(frozen=True)
class ArrayHead:
    """What the header of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True)
class DataSet:
    """Checked shards; `counts` are their samples, in reading order."""

    path: Path
    sha256: str
    field: str
    inputs: tuple[TensorSpec, ...]
    counts: tuple[tuple[str, int], ...]
    has_label: bool

    @property
    def samples(self) -> int:
        """In all shards."""
        return sum(count for _, count in self.counts)

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        """Samples in order; with a `limit`, that many, evenly spread over the set.

        Raises:
            RefusedError: naming the shard and the sample at fault.
        """
        total = self.samples
        wanted = total if limit is None else min(limit, total)
        taken = position = 0
        for name, file in open_shards(self.path, self.field):
            for sample in self._samples(name, file):
                # The k-th of `wanted` is number floor(k * total / wanted): no draw, so no seed.
                if position == taken * total // wanted and taken < wanted:
                    yield sample
                    taken += 1
                position += 1

    def _samples(self, name: str, file: BinaryIO) -> Iterator[Sample]:
        keys = [each.name for each in self.inputs] + [LABEL] * self.has_label
        try:
            with np.load(file, allow_pickle=False) as shard:
                arrays = {key: shard[key] for key in keys}
        except _DAMAGE as error:
            raise _damaged(self.field, name, error) from error
        for spec in self.inputs:
            _require_finite(self.field, name, spec, arrays[spec.name])
        for index in range(len(arrays[keys[0]])):
            feed = {spec.name: _one(arrays[spec.name], index, spec) for spec in self.inputs}
            yield Sample(name, index, feed, arrays[LABEL][index] if self.has_label else None)


def open_data(path: Path, sha256: str, field: str, inputs: tuple[TensorSpec, ...]) -> DataSet:
    """Check the heads of all shards against a model's inputs.

    Raises:
        RefusedError: naming the shard, the array, what it is and what the model takes.
    """
    counts, labels = [], []
    for name, file in open_shards(path, field):
        heads = _heads(file, name, field)
        counts.append((name, _check_shard(heads, inputs, name, field)))
        labels.append(LABEL in heads)
    if not sum(count for _, count in counts):
        raise RefusedError(f"{field}.uri", f"no samples in {path}", "a folder or tar with .npz shards")
    if any(labels) and not all(labels):
        missing = counts[labels.index(False)][0]
        raise RefusedError(f"{field}.uri", f"shard {missing} without `{LABEL}`", f"`{LABEL}` in all shards or in none")
    return DataSet(path, sha256, field, inputs, tuple(counts), all(labels))


def digest_of_data(path: Path) -> str:
    """Of a tar: of the file. Of a folder: of its sorted `<sha256>  <name>` lines."""
    if path.is_file():
        return digest_of(path)
    lines = (f"{digest_of(shard)}  {shard.relative_to(path).as_posix()}\n" for shard in _folder(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_shards(path: Path, field: str) -> Iterator[tuple[str, BinaryIO]]:
    """Name and bytes of each shard: a folder's by name, a tar's in its own order.

    Raises:
        RefusedError: a tar that is damaged, or holds a link, a device, or a path outside itself.
    """
    if path.is_dir():
        for shard in _folder(path):
            with shard.open("rb") as file:
                yield shard.relative_to(path).as_posix(), file
        return
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                _check_member(member, field)
                if member.isfile() and member.name.endswith(".npz"):
                    yield member.name, io.BytesIO(_member_bytes(archive, member, field))
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise RefusedError(
            f"{field}.uri", f"a damaged tar {path.name}: {error}", "a whole tar of .npz shards"
        ) from error


def _folder(path: Path) -> list[Path]:
    return sorted(shard for shard in path.rglob("*.npz") if shard.is_file())


def _check_member(member: tarfile.TarInfo, field: str) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise RefusedError(f"{field}.uri", f"tar member {member.name!r}, outside the tar", "relative paths within it")
    if not (member.isfile() or member.isdir()):
        raise RefusedError(f"{field}.uri", f"tar member {member.name!r}, a link or device", "files and folders")
    if member.size > SHARD_LIMIT_BYTES:
        raise _too_large(field, member.name, member.size)


def _member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, field: str) -> bytes:
    file = archive.extractfile(member)
    content = file.read() if file else b""
    if len(content) != member.size:
        raise _damaged(field, member.name, EOFError(f"{len(content)} of {member.size} bytes"))
    return content


def _heads(file: BinaryIO, shard: str, field: str) -> dict[str, ArrayHead]:
    """Headers of all arrays in a shard; the file is left at its start."""
    heads = {}
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size > SHARD_LIMIT_BYTES:
                raise _too_large(field, shard, size)
            for info in archive.infolist():
                with archive.open(info) as member:
                    heads[info.filename.removesuffix(".npy")] = _head(member)
    except _DAMAGE as error:
        raise _damaged(field, shard, error) from error
    file.seek(0)
    return heads


def _head(member: io.BufferedIOBase | object) -> ArrayHead:
    version = np.lib.format.read_magic(member)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)  # type: ignore[arg-type]
    return ArrayHead(shape, dtype)


def _check_shard(heads: dict[str, ArrayHead], inputs: tuple[TensorSpec, ...], shard: str, field: str) -> int:
    """The number of samples in a shard that fits the model."""
    for spec in inputs:
        head = heads.get(spec.name)
        if head is None:
            found = f"shard {shard} with arrays {', '.join(sorted(heads)) or 'none'}"
            raise RefusedError(f"{field}.uri", found, f"an array for every input: {spec.text}")
        if head.dtype != np.dtype(spec.dtype) or not _fits(head.shape, spec):
            found = f"shard {shard}: {spec.name} {head.dtype}{list(head.shape)}"
            raise RefusedError(f"{field}.uri", found, f"{spec.text}, or with a first axis of samples before it")
    label = heads.get(LABEL)
    if label is not None and (not label.shape or label.dtype.kind not in "iub"):
        raise RefusedError(f"{field}.uri", f"shard {shard}: {LABEL} {label.dtype}{list(label.shape)}", "class numbers")
    lengths = {name: heads[name].shape[0] for name in [spec.name for spec in inputs] + [LABEL] * (label is not None)}
    if len(set(lengths.values())) > 1:
        raise RefusedError(f"{field}.uri", f"shard {shard} with lengths {lengths}", "the same first axis in all arrays")
    return min(lengths.values())


def _fits(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Whether one sample of an array of `shape` is an input: as it is, or as a batch of one."""
    if len(shape) == len(spec.shape) + 1:
        sample = shape[1:]
    elif shape and len(shape) == len(spec.shape):
        sample = (1, *shape[1:])
    else:
        return False
    return all(wanted in (None, found) for found, wanted in zip(sample, spec.shape, strict=True))


def _one(array: Array, index: int, spec: TensorSpec) -> Array:
    whole = array.ndim == len(spec.shape) + 1
    return np.ascontiguousarray(array[index]) if whole else np.ascontiguousarray(array[index : index + 1])


def _require_finite(field: str, shard: str, spec: TensorSpec, array: Array) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    index = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
    found = f"shard {shard}, sample {index}: NaN or infinity in {spec.name}"
    raise RefusedError(f"{field}.uri", found, "finite numbers")


def _damaged(field: str, shard: str, error: Exception) -> RefusedError:
    return RefusedError(
        f"{field}.uri", f"a damaged shard {shard}: {error}", "a whole .npz file without pickled objects"
    )


def _too_large(field: str, shard: str, size: int) -> RefusedError:
    return RefusedError(
        f"{field}.uri", f"shard {shard} of {size} bytes", f"shards of at most {SHARD_LIMIT_BYTES} bytes"
    )
