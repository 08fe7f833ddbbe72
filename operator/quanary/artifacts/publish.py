"""Push artifacts to an OCI repository: each a manifest of its own with all that is said of it as layers.

The statement is a layer like the others, not a referrer (a manifest with `subject`): registries that only speak
version 1.0 of the distribution specification answer 404 when asked for referrers.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from oras.container import Container
from oras.oci import ManifestConfig, NewLayer, NewManifest
from oras.provider import temporary_empty_config

from quanary.artifacts.failures import LASTING_STATUSES, UnreachableError
from quanary.artifacts.locate import OciFile, locate
from quanary.artifacts.registry import (
    ARTIFACT_TYPE,
    EMPTY_MEDIA_TYPE,
    MODEL_MEDIA_TYPE,
    REPORT_MEDIA_TYPE,
    TITLE,
    Client,
    RegistryError,
    check,
    connect,
    container_of,
)
from quanary.artifacts.transport import ForbiddenAddressError
from quanary.artifacts.verify import digest_of
from quanary.wire.report import PAGE_FILE, REPORT_FILE, SIGNATURE_SUFFIX, STATEMENT_FILE, RefusedError, Report

MEDIA_TYPES: Final = {
    REPORT_FILE: REPORT_MEDIA_TYPE,
    PAGE_FILE: "text/html",
    STATEMENT_FILE: "application/vnd.in-toto+json",
}
SIGNATURE_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True)
class Publication:
    """An artifact's files. Its tag is the sha256 of the model, so that no registry collects it."""

    model: Path
    sha256: str
    beside: tuple[Path, ...]


def publications_of(report: Report, folder: Path) -> tuple[Publication, ...]:
    """What a run left in `folder`: the certified others of the front, safest first, and the chosen artifact last."""
    others = [
        each.artifact for each in report.front if each.certified and each.artifact.sha256 != report.artifact.sha256
    ]
    shared = [path for name in MEDIA_TYPES if (path := folder / name).is_file()]
    return tuple(_publication(folder / each.file, each.sha256, shared) for each in (*others, report.artifact))


def _publication(model: Path, sha256: str, shared: Sequence[Path]) -> Publication:
    signature = model.with_name(model.name + SIGNATURE_SUFFIX)
    return Publication(model, sha256, (*shared, *([signature] if signature.is_file() else [])))


def tagged_uri(repository: str, sha256: str) -> str:
    """Where an artifact will be found, for reports: the pinned URI is not known before its report is written."""
    return f"{repository}:{sha256}"


def publish(
    publications: Sequence[Publication], repository: str, *, field: str, insecure_hosts: frozenset[str]
) -> tuple[str, ...]:
    """Push them in this order, every blob before the first manifest. Returns the pinned URIs.

    Raises:
        RefusedError: on `field`: no repository, or the registry does not let us write there.
        UnreachableError: the registry did not answer as it should.
    """
    location = locate(repository, field=field, insecure_hosts=insecure_hosts)
    if not isinstance(location, OciFile):
        raise RefusedError(field, repr(repository), "oci://host/repository")
    targets = [OciFile(location.host, location.repository, each.sha256) for each in publications]
    with _judged(repository, field), connect(location.host, insecure_hosts) as client:
        client.auth.load_configs(_container(targets[0]))
        manifests = [_manifest_of(each) for each in publications]
        _push_blobs(client, targets[0], publications, manifests)
        digests = [_push_manifest(client, *each) for each in zip(manifests, targets, strict=True)]
    return tuple(f"oci://{location.host}/{location.repository}@{digest}" for digest in digests)


@contextmanager
def _judged(repository: str, field: str) -> Iterator[None]:
    """What a person must mend is refused, what may pass is not."""
    try:
        yield
    except ForbiddenAddressError as error:
        raise RefusedError(field, f"{repository}: {error}", "a host that is not this machine or its cloud") from error
    except RegistryError as error:
        if error.status in LASTING_STATUSES:
            raise RefusedError(field, str(error), "a repository that may be written to") from error
        raise UnreachableError(str(error)) from error
    except requests.RequestException as error:
        message = f"{repository} cannot be reached: {error}"
        raise UnreachableError(message) from error


def _manifest_of(publication: Publication) -> dict[str, Any]:
    if (found := digest_of(publication.model)) != publication.sha256:
        message = f"{publication.model.name} has sha256 {found}, not {publication.sha256}"
        raise ValueError(message)
    manifest: dict[str, Any] = NewManifest()
    manifest["artifactType"] = ARTIFACT_TYPE
    manifest["layers"] = [_layer_of(path) for path in _files(publication)]
    manifest["config"], _ = ManifestConfig(None, EMPTY_MEDIA_TYPE)
    return manifest


def _files(publication: Publication) -> Iterable[Path]:
    return (publication.model, *publication.beside)


def _layer_of(path: Path) -> dict[str, Any]:
    media_type = SIGNATURE_MEDIA_TYPE if path.name.endswith(SIGNATURE_SUFFIX) else MODEL_MEDIA_TYPE
    layer: dict[str, Any] = NewLayer(str(path), media_type=MEDIA_TYPES.get(path.name, media_type))
    layer["annotations"] = {TITLE: path.name}
    return layer


def _push_blobs(
    client: Client, target: OciFile, publications: Sequence[Publication], manifests: Sequence[dict[str, Any]]
) -> None:
    """The registry has each blob once, however many manifests hold it."""
    container = _container(target)
    for publication, manifest in zip(publications, manifests, strict=True):
        for path, layer in zip(_files(publication), manifest["layers"], strict=True):
            check(f"pushing {path.name} to {container}", client.upload_blob(str(path), container, layer))
        with temporary_empty_config() as empty:
            check(f"pushing the config to {container}", client.upload_blob(empty, container, manifest["config"]))


def _push_manifest(client: Client, manifest: dict[str, Any], target: OciFile) -> str:
    """Tag it, and read it back: what the registry holds must be what we sent, whatever its spelling."""
    container = _container(target)
    check(f"pushing the manifest of {container}", client.upload_manifest(manifest, container))
    accept = {"Accept": str(manifest["mediaType"])}
    response = client.do_request(f"{client.prefix}://{container.manifest_url()}", "GET", headers=accept)
    check(f"reading back {container}", response)
    try:
        is_same = json.loads(response.content) == manifest
    except ValueError:  # what some proxies answer with is no JSON
        is_same = False
    if not is_same:
        message = f"{container} holds another manifest than the one just pushed"
        raise UnreachableError(message)
    return f"sha256:{hashlib.sha256(response.content).hexdigest()}"


def _container(target: OciFile) -> Container:
    return container_of(target.host, target.repository, target.reference)
