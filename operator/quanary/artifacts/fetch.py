"""Bring a file here and prove that it is the one that was meant."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from quanary.artifacts.locate import BucketFile, LocalFile, OciFile, WebFile, locate
from quanary.artifacts.registry import Layer, RegistryError, connect, read_blob, read_layers
from quanary.artifacts.stores import StoreError, read_object
from quanary.artifacts.transport import ForbiddenAddressError, guarded_session
from quanary.artifacts.verify import CHUNK_BYTES, Wanted, chunks_of, digest_of, write_verified
from quanary.wire.report import RefusedError

MODEL_LIMIT_BYTES: Final = 2 << 30  # a protobuf message cannot be larger
DATA_LIMIT_BYTES: Final = 64 << 30

# What a person must mend; anything else a registry or web server says may pass.
_LASTING: Final = frozenset({400, 401, 403, 404, 405, 410, 414, 451})
_REDIRECTS: Final = 5
_LOCAL: Final = ("file://", "pvc://")


class UnreachableError(Exception):
    """The network or the store failed; the same request may work later."""


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
    try:
        match location:
            case LocalFile():
                chunks: Iterator[bytes] = iter(chunks_of(_existing(location, wanted)))
            case OciFile():
                chunks = _oci_chunks(location, wanted, insecure_hosts, title)
            case WebFile():
                chunks = _web_chunks(location, wanted, insecure_hosts)
            case BucketFile():
                chunks = read_object(location, insecure_hosts)
        return Fetched(to, write_verified(chunks, to, wanted, limit_bytes))
    except ForbiddenAddressError as error:
        raise wanted.refuse_uri(f"{wanted.uri}: {error}", "a host that is not this machine or its cloud") from error
    except RegistryError as error:
        raise _judge(error.status, str(error), wanted) from error
    except StoreError as error:
        raise _judge(error.status, f"{wanted.uri}: {error}", wanted) from error
    except requests.RequestException as error:
        message = f"{wanted.field}.uri: {wanted.uri} cannot be reached: {error}"
        raise UnreachableError(message) from error


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


def _judge(status: int, text: str, wanted: Wanted) -> RefusedError | UnreachableError:
    if status in _LASTING:
        return wanted.refuse_uri(text, "something that is there and may be read")
    return UnreachableError(f"{wanted.field}.uri: {text}")


def _oci_chunks(
    file: OciFile, wanted: Wanted, insecure_hosts: frozenset[str], title: str | tuple[str, ...]
) -> Iterator[bytes]:
    with connect(file.host, insecure_hosts) as client:
        try:
            layers = read_layers(client, file)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            found = f"{error} at {wanted.uri}"
            raise wanted.refuse_uri(found, "an OCI image manifest with the file as a layer") from error
        layer = _layer_of(layers, wanted, title)
        chunks = read_blob(client, file, layer.digest)
        yield from chunks if wanted.sha256 else _pinned(chunks, layer.digest, wanted)


def _pinned(chunks: Iterable[bytes], digest: str, wanted: Wanted) -> Iterator[bytes]:
    """Where nobody gave a sha256, the manifest still says what its layer is."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    if (found := f"sha256:{hasher.hexdigest()}") != digest:
        raise wanted.refuse_uri(f"a layer {found} at {wanted.uri}", f"{digest}, as its manifest says")


def _layer_of(layers: tuple[Layer, ...], wanted: Wanted, title: str | tuple[str, ...]) -> Layer:
    if wanted.sha256:
        for each in layers:
            if each.digest == f"sha256:{wanted.sha256}":
                return each
        # Refused before a byte of it is read: a layer's digest is its content's.
        raise wanted.refuse_digest(", ".join(each.digest.removeprefix("sha256:") for each in layers))
    titled = [each for each in layers if each.title.endswith(title)]
    if len(titled) > 1:
        names = ", ".join(each.title for each in titled)
        ends = title if isinstance(title, str) else " or *".join(title)
        raise wanted.refuse_uri(f"layers {names} at {wanted.uri}", f"one layer titled *{ends}, or a sha256")
    return titled[0] if titled else layers[0]


def _web_chunks(file: WebFile, wanted: Wanted, insecure_hosts: frozenset[str]) -> Iterator[bytes]:
    url = file.url
    with guarded_session(insecure_hosts) as session:
        for _ in range(_REDIRECTS):
            headers = {"Accept-Encoding": "identity"}
            with session.get(url, stream=True, allow_redirects=False, headers=headers) as response:
                if response.is_redirect:
                    url = _same_host(response, file, wanted)
                    continue
                if response.status_code != 200:
                    raise _judge(response.status_code, f"{url}: {response.status_code} {response.reason}", wanted)
                yield from response.iter_content(CHUNK_BYTES)
                return
        raise wanted.refuse_uri(f"more than {_REDIRECTS} redirects at {wanted.uri}", "the file itself")


def _same_host(response: requests.Response, file: WebFile, wanted: Wanted) -> str:
    target = requests.compat.urljoin(response.url, response.headers["location"])
    parts = requests.compat.urlparse(target)
    if parts.netloc != file.host or parts.scheme != requests.compat.urlparse(file.url).scheme:
        raise wanted.refuse_uri(f"a redirect of {wanted.uri} to {parts.scheme}://{parts.netloc}", "the same host")
    return str(target)
