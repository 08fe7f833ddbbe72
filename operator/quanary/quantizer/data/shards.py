"""The shards of a folder, a tar or a single file, one at a time, as bytes.

Nothing is unpacked to disk, and no more than one shard is in memory.
"""

import bz2
import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, cast

from typing_extensions import override

from quanary.artifacts.fetch import DATA_LIMIT_BYTES
from quanary.wire.report import RefusedError

SHARD_LIMIT_BYTES: Final = 1 << 30
MEMBERS_LIMIT: Final = 100_000
ALLOWED: Final = "a folder or tar of .npz or of .parquet shards, or one such file"

_CHUNK_BYTES: Final = 1 << 20
_TAR_OPENERS: Final[dict[bytes, Callable[[BinaryIO], Any]]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}


class Format(StrEnum):
    """Of a shard, by the end of its name."""

    NPZ = ".npz"
    PARQUET = ".parquet"


@dataclass(frozen=True)
class Shard:
    """A file of samples; `file` can seek."""

    name: str
    format: Format
    file: BinaryIO

    def damaged(self, field: str, error: Exception) -> RefusedError:
        """The refusal of a shard that cannot be read."""
        whole = f"a whole {self.format} file without pickled objects"
        return RefusedError(f"{field}.uri", f"a damaged shard {self.name}: {error}", whole)


def too_large(field: str, shard: str, size: int) -> RefusedError:
    """The refusal of a shard that is larger, or unpacks to more, than any needs to be."""
    allowed = f"shards of at most {SHARD_LIMIT_BYTES} bytes; write more and smaller ones"
    return RefusedError(f"{field}.uri", f"shard {shard} of {size} bytes", allowed)


def open_shards(path: Path, field: str) -> Iterator[Shard]:
    """A folder's by name, a tar's in its own order, or the file itself.

    Raises:
        RefusedError: shards of two formats, or a tar that is damaged, or holds a link, a device, or a path outside
            itself.
    """
    if path.is_dir():
        yield from _of_folder(path, field)
    elif format_ := _format_of_file(path):
        with path.open("rb") as file:
            yield Shard(path.name, format_, file)
    else:
        yield from _of_tar(path, field)


def files_of(folder: Path) -> list[Path]:
    """The shards of a folder and the folders in it, by name."""
    return sorted(path for path in folder.rglob("*") if format_of(path.name) and path.is_file())


def format_of(name: str) -> Format | None:
    """By the end of a name; None for what is no shard."""
    return next((each for each in Format if name.endswith(each)), None)


def _format_of_file(path: Path) -> Format | None:
    with path.open("rb") as file:
        magic = file.read(4)
    return {b"PAR1": Format.PARQUET, b"PK\x03\x04": Format.NPZ}.get(magic)


def _of_folder(folder: Path, field: str) -> Iterator[Shard]:
    first: Shard | None = None
    for path in files_of(folder):
        with path.open("rb") as file:
            shard = Shard(path.relative_to(folder).as_posix(), Format(path.suffix), file)
            first = first or shard
            _require_same_format(first, shard, field)
            yield shard


def _of_tar(path: Path, field: str) -> Iterator[Shard]:
    first: Shard | None = None
    try:
        for archive, member in _members(path, field):
            if member.isfile() and (format_ := format_of(member.name)):
                shard = Shard(member.name, format_, _member_bytes(archive, member, field))
                first = first or shard
                _require_same_format(first, shard, field)
                yield shard
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise RefusedError(f"{field}.uri", f"{path.name}, no tar or a damaged one: {error}", ALLOWED) from error


def _members(path: Path, field: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    count = size = 0
    with _unpacked(path) as file, tarfile.open(fileobj=cast("IO[bytes]", file), mode="r:") as archive:
        while member := archive.next():
            _check_member(member, field)
            count, size = count + 1, size + member.size
            if count > MEMBERS_LIMIT or size > DATA_LIMIT_BYTES:
                found = f"a tar {path.name} that unpacks to {count} files of {size} bytes so far"
                raise RefusedError(f"{field}.uri", found, f"{MEMBERS_LIMIT} files of {DATA_LIMIT_BYTES} bytes in all")
            yield archive, member


@contextmanager
def _unpacked(path: Path) -> Iterator["_Bounded"]:
    with path.open("rb") as file:
        opener = _TAR_OPENERS.get(file.read(2))
        file.seek(0)
        if opener is None:
            yield _Bounded(file)
        else:
            with opener(file) as unpacked:
                yield _Bounded(unpacked)


class _Bounded(io.RawIOBase):
    """Reads in small pieces only: a tar may claim a name of gigabytes, which would be read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @override
    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _CHUNK_BYTES:
            message = f"a header of {size} bytes"
            raise tarfile.ReadError(message)
        return self._file.read(size)

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._file.tell()


def _check_member(member: tarfile.TarInfo, field: str) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise RefusedError(f"{field}.uri", f"tar member {member.name!r}, outside the tar", "relative paths within it")
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise RefusedError(f"{field}.uri", f"tar member {member.name!r}, a link or device", "files and folders")
    if member.size > SHARD_LIMIT_BYTES:
        raise too_large(field, member.name, member.size)


def _member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, field: str) -> BinaryIO:
    content = io.BytesIO()
    if file := archive.extractfile(member):
        shutil.copyfileobj(file, content, _CHUNK_BYTES)
    if content.tell() != member.size:
        found = f"a damaged tar: {member.name} has {content.tell()} of {member.size} bytes"
        raise RefusedError(f"{field}.uri", found, ALLOWED)
    content.seek(0)
    return content


def _require_same_format(first: Shard, shard: Shard, field: str) -> None:
    if shard.format != first.format:
        found = f"shards {first.name} and {shard.name} in one set"
        raise RefusedError(f"{field}.uri", found, f"all {Format.NPZ} or all {Format.PARQUET}")
