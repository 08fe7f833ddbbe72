"""Files that are what their digest says, or are not there at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from quanary.wire.report import RefusedError

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Wanted:
    """A file by URI, what it must hash to (anything if empty), and the field of the resource that asked for it."""

    uri: str
    sha256: str
    field: str

    def refuse_uri(self, found: str, allowed: str) -> RefusedError:
        """The refusal of where it is."""
        return RefusedError(f"{self.field}.uri", found, allowed)

    def refuse_digest(self, found: str) -> RefusedError:
        """The refusal of what it is."""
        return RefusedError(f"{self.field}.sha256", f"sha256 {found} at {self.uri}", f"sha256 {self.sha256}")


def digest_of(path: Path) -> str:
    """sha256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chunks_of(path: Path) -> Iterable[bytes]:
    """A file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def write_verified(chunks: Iterable[bytes], to: Path, wanted: Wanted, limit_bytes: int) -> str:
    """Write `chunks` to `to`, hashing on the way; the file appears whole and right, in one rename. Returns its sha256.

    Raises:
        RefusedError: the digest is another than wanted, or the file is larger than `limit_bytes`.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=to.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _copy(chunks, file, wanted, limit_bytes)
            # Readable by the server, that may run as another user than the init container.
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(to)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return digest


def _copy(chunks: Iterable[bytes], file: BinaryIO, wanted: Wanted, limit_bytes: int) -> str:
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit_bytes:
            raise wanted.refuse_uri(f"more than {limit_bytes} bytes at {wanted.uri}", f"{limit_bytes} bytes")
        hasher.update(chunk)
        file.write(chunk)
    digest = hasher.hexdigest()
    if wanted.sha256 and digest != wanted.sha256:
        raise wanted.refuse_digest(digest)
    return digest
