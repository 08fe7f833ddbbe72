"""An OCI registry through oras, with our guarded session and manifests checked against their digests."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests
from oras.container import Container
from oras.defaults import annotation_title, default_manifest_media_type, docker_manifest_media_type
from oras.provider import Registry

from quanary.artifacts.locate import OciFile, is_listed
from quanary.artifacts.transport import guarded_session
from quanary.artifacts.verify import CHUNK_BYTES

ARTIFACT_TYPE: Final = "application/vnd.quanary.artifact.v1"
MODEL_MEDIA_TYPE: Final = "application/vnd.quanary.model.v1+onnx"
REPORT_MEDIA_TYPE: Final = "application/vnd.quanary.report.v1+json"
EMPTY_MEDIA_TYPE: Final = "application/vnd.oci.empty.v1+json"
TITLE: Final = annotation_title

_MANIFEST_LIMIT_BYTES: Final = 4 << 20


class RegistryError(Exception):
    """The registry answered with an error; `status` is its HTTP code."""

    def __init__(self, doing: str, response: requests.Response) -> None:
        self.status = response.status_code
        super().__init__(f"{doing}: {response.status_code} {response.reason}")


@dataclass(frozen=True)
class Layer:
    """One blob of a manifest."""

    digest: str  # sha256:…
    title: str


class Client(Registry):  # type: ignore[misc]
    """oras' registry client without its retries: they sleep for minutes over what no retry can mend.

    The session below retries what can be.
    """

    do_request = Registry.do_request.__wrapped__


@contextmanager
def connect(host: str, insecure_hosts: frozenset[str]) -> Iterator[Client]:
    """A client of one registry; its connections end with the block."""
    with guarded_session(insecure_hosts) as session:
        client = Client(hostname=host, insecure=is_listed(host, insecure_hosts))
        client.session.close()
        client.session = client.auth.session = session
        client._tls_verify = client.auth._tls_verify = session.verify  # noqa: SLF001 - oras sets it on each request
        yield client


def container_of(host: str, repository: str, reference: str) -> Container:
    """oras' name of a manifest."""
    separator = "@" if reference.startswith("sha256:") else ":"
    return Container(f"{host}/{repository}{separator}{reference}", registry=host)


def read_layers(client: Client, file: OciFile) -> tuple[Layer, ...]:
    """The layers of a manifest.

    Raises:
        RegistryError: it is not there, or may not be read.
        ValueError: it is no manifest of one artifact, or not what its digest says.
    """
    container = container_of(file.host, file.repository, file.reference)
    client.auth.load_configs(container)
    accept = f"{default_manifest_media_type}, {docker_manifest_media_type}"
    url = f"{client.prefix}://{container.manifest_url()}"
    with client.do_request(url, "GET", headers={"Accept": accept}, stream=True) as response:
        check(f"reading manifest {container}", response)
        content = _whole(response)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if file.reference.startswith("sha256:") and digest != file.reference:
        message = f"a manifest with digest {digest}"
        raise ValueError(message)
    try:
        layers = tuple(_layer(each) for each in json.loads(content).get("layers") or ())
    # A hostile one may be any JSON, of any depth.
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        message = f"no manifest: {type(error).__name__}: {error}"
        raise ValueError(message) from error
    if not layers:
        raise ValueError("a manifest without layers")
    return layers


def _whole(response: requests.Response) -> bytes:
    content = b""
    for piece in response.iter_content(CHUNK_BYTES):
        content += piece
        if len(content) > _MANIFEST_LIMIT_BYTES:
            message = f"a manifest of more than {_MANIFEST_LIMIT_BYTES} bytes"
            raise ValueError(message)
    return content


def _layer(fields: Any) -> Layer:
    digest, title = fields["digest"], (fields.get("annotations") or {}).get(TITLE, "")
    if not (isinstance(digest, str) and isinstance(title, str)):
        raise TypeError("a layer whose digest or title is no text")
    return Layer(digest, title)


def read_blob(client: Client, file: OciFile, digest: str) -> Iterator[bytes]:
    """A blob in pieces, unchecked."""
    container = container_of(file.host, file.repository, file.reference)
    with client.get_blob(container, digest, stream=True) as response:
        check(f"reading blob {digest} of {container}", response)
        yield from response.iter_content(CHUNK_BYTES)


def check(doing: str, response: Any) -> None:
    """Raise RegistryError for anything but success."""
    if response.status_code not in {200, 201, 202}:
        raise RegistryError(doing, response)
