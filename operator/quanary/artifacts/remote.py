"""The bytes of a file that is elsewhere: an OCI registry, a web server, a bucket."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import requests

from quanary.artifacts.failures import LASTING_STATUSES, UnreachableError
from quanary.artifacts.locate import BucketFile, OciFile, WebFile
from quanary.artifacts.registry import Layer, RegistryError, connect, read_blob, read_layers
from quanary.artifacts.stores import StoreError, read_object
from quanary.artifacts.transport import ForbiddenAddressError, guarded_session
from quanary.artifacts.verify import CHUNK_BYTES, Wanted
from quanary.wire.report import RefusedError

_REDIRECTS: Final = 5


def read_remote(
    location: OciFile | WebFile | BucketFile,
    wanted: Wanted,
    insecure_hosts: frozenset[str],
    title: str | tuple[str, ...],
) -> Iterator[bytes]:
    """The file in pieces, not yet verified.

    Raises:
        RefusedError: not there, or not allowed.
        UnreachableError: the store did not answer as it should.
    """
    try:
        match location:
            case OciFile():
                yield from _oci_chunks(location, wanted, insecure_hosts, title)
            case WebFile():
                yield from _web_chunks(location, wanted, insecure_hosts)
            case BucketFile():
                yield from read_object(location, insecure_hosts)
    except ForbiddenAddressError as error:
        raise wanted.refuse_uri(f"{wanted.uri}: {error}", "a host that is not this machine or its cloud") from error
    except RegistryError as error:
        raise _judge(error.status, str(error), wanted) from error
    except StoreError as error:
        raise _judge(error.status, f"{wanted.uri}: {error}", wanted) from error
    except requests.RequestException as error:
        message = f"{wanted.field}.uri: {wanted.uri} cannot be reached: {error}"
        raise UnreachableError(message) from error


def _judge(status: int, text: str, wanted: Wanted) -> RefusedError | UnreachableError:
    if status in LASTING_STATUSES:
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
