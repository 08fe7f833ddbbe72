"""Push an artifact and its report to an OCI repository, as two layers of one manifest."""

import hashlib
import json
from pathlib import Path

import requests
from oras.oci import ManifestConfig, NewLayer, NewManifest
from oras.provider import temporary_empty_config

from quanary.artifacts.fetch import UnreachableError
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
from quanary.wire.report import RefusedError


def publish(
    model: Path, report: Path, repository: str, *, sha256: str, field: str, insecure_hosts: frozenset[str]
) -> str:
    """Push both files, tagged with the model's digest, so that no registry collects them. Returns the pinned URI.

    Raises:
        RefusedError: on `field`: no repository, or the registry does not let us write there.
        UnreachableError: the registry did not answer as it should.
    """
    file = locate(repository, field=field, insecure_hosts=insecure_hosts)
    if not isinstance(file, OciFile):
        raise RefusedError(field, repr(repository), "oci://host/repository")
    try:
        with connect(file.host, insecure_hosts) as client:
            digest = _push(client, OciFile(file.host, file.repository, sha256), model, report)
    except ForbiddenAddressError as error:
        raise RefusedError(field, f"{repository}: {error}", "a host that is not this machine or its cloud") from error
    except RegistryError as error:
        if error.status in {400, 401, 403, 404, 405}:
            raise RefusedError(field, str(error), "a repository that may be written to") from error
        raise UnreachableError(str(error)) from error
    except requests.RequestException as error:
        message = f"{repository} cannot be reached: {error}"
        raise UnreachableError(message) from error
    return f"oci://{file.host}/{file.repository}@{digest}"


def _push(client: Client, file: OciFile, model: Path, report: Path) -> str:
    container = container_of(file.host, file.repository, file.reference)
    client.auth.load_configs(container)
    manifest = NewManifest()
    manifest["artifactType"] = ARTIFACT_TYPE
    for path, media_type in ((model, MODEL_MEDIA_TYPE), (report, REPORT_MEDIA_TYPE)):
        layer = NewLayer(str(path), media_type=media_type)
        layer["annotations"] = {TITLE: path.name}
        manifest["layers"].append(layer)
        check(f"pushing {path.name} to {container}", client.upload_blob(str(path), container, layer))
    config, _ = ManifestConfig(None, EMPTY_MEDIA_TYPE)
    with temporary_empty_config() as empty:
        check(f"pushing the config to {container}", client.upload_blob(empty, container, config))
    manifest["config"] = config
    check(f"pushing the manifest of {container}", client.upload_manifest(manifest, container))
    return _manifest_digest(client, manifest, file)


def _manifest_digest(client: Client, manifest: dict[str, object], file: OciFile) -> str:
    """The digest of what the registry holds under our tag, which must be what we sent, whatever its spelling."""
    container = container_of(file.host, file.repository, file.reference)
    accept = {"Accept": str(manifest["mediaType"])}
    response = client.do_request(f"{client.prefix}://{container.manifest_url()}", "GET", headers=accept)
    check(f"reading back {container}", response)
    if json.loads(response.content) != manifest:
        message = f"{container} holds another manifest than the one just pushed"
        raise UnreachableError(message)
    return f"sha256:{hashlib.sha256(response.content).hexdigest()}"
