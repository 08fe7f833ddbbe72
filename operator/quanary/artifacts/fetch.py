"""Bring a file here and prove that it is the one that was meant."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.artifacts.locate import LocalFile, locate
from quanary.artifacts.verify import Wanted, chunks_of, digest_of, write_verified

MODEL_LIMIT_BYTES: Final = 2 << 30  # a protobuf message cannot be larger
DATA_LIMIT_BYTES: Final = 64 << 30

_LOCAL: Final = ("file://", "pvc://")


@dataclass(frozen=True)
class Fetched:
    """A verified local file."""

    path: Path
    sha256: str


def fetch(
    wanted: Wanted,
    to: Path,
    insecure_hosts: frozenset[str],
    limit_bytes: int,
    title: str | tuple[str, ...] = ".onnx",
) -> Fetched:
    """The file `wanted`, verified, at `to`; it appears there whole or not at all.

    Of an OCI manifest it is the layer with the wanted digest, else the one titled `*title`, else the first.

    Raises:
        RefusedError: not found, not allowed, too large, or not what its digest says.
        UnreachableError: the store did not answer as it should.
    """
    location = locate(wanted.uri, field=f"{wanted.field}.uri", insecure_hosts=insecure_hosts)
    if isinstance(location, LocalFile):
        chunks = iter(chunks_of(_existing(location, wanted)))
    else:
        # Only now: its clients take half a second to import, and what a person names is most often a local file.
        from quanary.artifacts.remote import read_remote  # noqa: PLC0415

        chunks = read_remote(location, wanted, insecure_hosts, title)
    return Fetched(to, write_verified(chunks, to, wanted, limit_bytes))


def fetch_or_use(
    wanted: Wanted, to: Path, insecure_hosts: frozenset[str], limit_bytes: int, title: str | tuple[str, ...]
) -> Fetched:
    """As `fetch`, but a local file is verified where it is, not copied.

    Raises:
        RefusedError, UnreachableError: as `fetch`.
    """
    location = locate(wanted.uri, field=f"{wanted.field}.uri", insecure_hosts=insecure_hosts)
    if not isinstance(location, LocalFile):
        return fetch(wanted, to, insecure_hosts, limit_bytes, title)
    path = _existing(location, wanted)
    if path.stat().st_size > limit_bytes:
        raise wanted.refuse_uri(f"{path.stat().st_size} bytes at {path}", f"at most {limit_bytes} bytes")
    digest = digest_of(path)
    if wanted.sha256 and digest != wanted.sha256:
        raise wanted.refuse_digest(digest)
    return Fetched(path, digest)


def local_path(wanted: Wanted) -> Path | None:
    """Where a local file or folder is; None for what must be fetched.

    Raises:
        RefusedError: no such URI, or a claim's path that leads out of the claim.
    """
    if not (wanted.uri.startswith(_LOCAL) or "://" not in wanted.uri):
        return None
    location = locate(wanted.uri, field=f"{wanted.field}.uri")
    return _inside(location, wanted) if isinstance(location, LocalFile) else None


def _existing(file: LocalFile, wanted: Wanted) -> Path:
    path = _inside(file, wanted)
    if not path.is_file():
        raise wanted.refuse_uri(f"no file {path}", "an existing file")
    return path


def _inside(file: LocalFile, wanted: Wanted) -> Path:
    """A claim is filled by others than who reads it: a link in it must not open the pod's own files to them."""
    if file.root is None:
        return file.path
    root = file.root.resolve()
    paths = [file.path, *file.path.rglob("*")] if file.path.is_dir() else [file.path]
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise wanted.refuse_uri(f"{path}, a link out of the claim", f"files within {file.root}")
    return file.path
