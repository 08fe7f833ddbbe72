import hashlib
import json
import urllib.request
from pathlib import Path

import pytest

from quanary.artifacts.fetch import UnreachableError, fetch
from quanary.artifacts.publish import publish
from quanary.artifacts.registry import ARTIFACT_TYPE
from quanary.artifacts.verify import Wanted
from quanary.wire.report import RefusedError
from tests.artifacts.services import free_port, running_registry

MODEL = b"int8 weights" * 500
REPORT = b'{"verdict": "Beneficial"}'
DIGEST = hashlib.sha256(MODEL).hexdigest()


def push(folder: Path, host: str, repository: str = "team/model") -> str:
    (folder / "model-int8.onnx").write_bytes(MODEL)
    (folder / "report.json").write_bytes(REPORT)
    return publish(
        folder / "model-int8.onnx",
        folder / "report.json",
        f"oci://{host}/{repository}",
        sha256=DIGEST,
        field="spec.artifacts.repository",
        insecure_hosts=frozenset({host}),
    )


def read(uri: str, host: str, to: Path, sha256: str = DIGEST) -> bytes:
    return fetch(Wanted(uri, sha256, "spec.model"), to, frozenset({host}), 1 << 20).path.read_bytes()


def test_what_was_published_can_be_fetched_by_its_digest_and_by_its_tag(tmp_path: Path, registry: str) -> None:
    uri = push(tmp_path, registry)
    assert uri.startswith(f"oci://{registry}/team/model@sha256:")
    assert read(uri, registry, tmp_path / "a") == MODEL
    assert read(f"oci://{registry}/team/model:{DIGEST}", registry, tmp_path / "b") == MODEL
    assert read(uri, registry, tmp_path / "c", sha256="") == MODEL  # found by its title
    assert read(uri, registry, tmp_path / "d", hashlib.sha256(REPORT).hexdigest()) == REPORT


def test_publishing_again_gives_the_same_uri(tmp_path: Path, registry: str) -> None:
    assert push(tmp_path, registry) == push(tmp_path, registry)


def test_the_manifest_says_what_it_holds(tmp_path: Path, registry: str) -> None:
    digest = push(tmp_path, registry).split("@")[1]
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{registry}/v2/team/model/manifests/{digest}", headers=accept)
    with urllib.request.urlopen(request) as response:
        content = response.read()
    manifest = json.loads(content)
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    assert manifest["artifactType"] == ARTIFACT_TYPE
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in manifest["layers"]]
    assert titles == ["model-int8.onnx", "report.json"]


def test_a_manifest_without_the_wanted_digest_is_refused_unread(tmp_path: Path, registry: str) -> None:
    uri = push(tmp_path, registry)
    with pytest.raises(RefusedError) as caught:
        read(uri, registry, tmp_path / "x", sha256="0" * 64)
    assert caught.value.refusal.field == "spec.model.sha256"
    assert DIGEST in caught.value.refusal.found
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("reference", [":nothing", "@sha256:" + "0" * 64])
def test_a_missing_manifest_is_refused(tmp_path: Path, registry: str, reference: str) -> None:
    with pytest.raises(RefusedError, match=r"spec.model.uri: found .*404"):
        read(f"oci://{registry}/team/model{reference}", registry, tmp_path / "x")


def test_a_tampered_blob_is_refused(tmp_path: Path) -> None:
    """The registry's own disk is not trusted."""
    with running_registry(tmp_path) as host:
        uri = push(tmp_path, host)
        blob = tmp_path / "blobs/docker/registry/v2/blobs/sha256" / DIGEST[:2] / DIGEST / "data"
        content = bytearray(blob.read_bytes())
        content[7] ^= 0x10
        blob.write_bytes(content)
        with pytest.raises(RefusedError, match=r"spec.model.sha256"):
            read(uri, host, tmp_path / "x")


def test_a_repository_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"spec.artifacts.repository"):
        publish(tmp_path, tmp_path, "https://x.example/y", sha256=DIGEST, field="spec.artifacts.repository",
                insecure_hosts=frozenset())  # fmt: skip


def test_a_registry_that_is_away_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        push(tmp_path, f"127.0.0.1:{free_port()}")
