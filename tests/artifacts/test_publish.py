import hashlib
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.fetch import fetch
from quanary.artifacts.locate import OciFile
from quanary.artifacts.publish import Publication, publications_of, publish, tagged_uri
from quanary.artifacts.pull import pull
from quanary.artifacts.registry import ARTIFACT_TYPE, Client
from quanary.artifacts.verify import Wanted
from quanary.wire.report import RefusedError
from tests.artifacts.services import free_port, running_registry
from tests.quantizer.report.reports import DIGESTS, MODELS, full, minimal, write_folder

FIELD = "spec.artifacts.repository"
CHOSEN = "model-int8.onnx"
MODEL, DIGEST = MODELS[CHOSEN], DIGESTS[CHOSEN]
REPORT = full().to_json().encode()


def push(folder: Path, host: str, repository: str = "team/model") -> tuple[str, ...]:
    """A front of three as a run leaves it; the chosen one's URI is the last."""
    report = full()
    write_folder(folder, report)
    (folder / f"{CHOSEN}.sig").write_text("{}")
    return publish(
        publications_of(report, folder),
        f"oci://{host}/{repository}",
        field=FIELD,
        insecure_hosts=frozenset({host}),
    )


def read(uri: str, host: str, to: Path, sha256: str = DIGEST) -> bytes:
    return fetch(Wanted(uri, sha256, "spec.model"), to, frozenset({host}), 1 << 20).path.read_bytes()


def manifest_of(uri: str) -> tuple[bytes, dict[str, Any]]:
    host, rest = uri.removeprefix("oci://").split("/", 1)
    repository, digest = rest.split("@")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{digest}", headers=accept)
    with urllib.request.urlopen(request) as response:
        content = response.read()
    return content, json.loads(content)


def tags(host: str, repository: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://{host}/v2/{repository}/tags/list") as response:
            return list(json.loads(response.read())["tags"] or [])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise


def test_what_was_published_can_be_fetched_by_its_digest_and_by_its_tag(tmp_path: Path, registry: str) -> None:
    uri = push(tmp_path, registry)[-1]
    assert uri.startswith(f"oci://{registry}/team/model@sha256:")
    assert read(uri, registry, tmp_path / "a") == MODEL
    assert read(tagged_uri(f"oci://{registry}/team/model", DIGEST), registry, tmp_path / "b") == MODEL
    assert read(uri, registry, tmp_path / "c", sha256="") == MODEL  # found by its title
    assert read(uri, registry, tmp_path / "d", hashlib.sha256(REPORT).hexdigest()) == REPORT


def test_each_of_the_front_has_a_manifest_of_its_own_with_the_same_report(tmp_path: Path, registry: str) -> None:
    uris = push(tmp_path, registry)
    assert len(set(uris)) == len(uris) == 3
    for uri, entry in zip(uris, full().front, strict=True):
        file = entry.artifact.file
        assert read(uri, registry, tmp_path / "model", sha256=entry.artifact.sha256) == MODELS[file]
        assert read(f"oci://{registry}/team/model:{entry.artifact.sha256}", registry, tmp_path / "b",
                    sha256=entry.artifact.sha256) == MODELS[file]  # fmt: skip
        assert read(uri, registry, tmp_path / "report", hashlib.sha256(REPORT).hexdigest()) == REPORT


def test_the_chosen_artifact_is_the_last_and_what_failed_is_left_out(tmp_path: Path) -> None:
    report = full()
    failed = report.front[1].model_copy(update={"certified": False})
    write_folder(tmp_path, report)
    changed = report.model_copy(update={"front": (report.front[0], failed, report.front[2])})
    assert [each.model.name for each in publications_of(changed, tmp_path)] == ["model-int8-safest.onnx", CHOSEN]


def test_a_report_alone_is_published_without_what_is_not_there(tmp_path: Path) -> None:
    write_folder(tmp_path, minimal())
    (tmp_path / "report.html").unlink()
    (only,) = publications_of(minimal(), tmp_path)
    assert [each.name for each in only.beside] == ["report.json", "statement.json"]


def test_publishing_again_gives_the_same_uris(tmp_path: Path, registry: str) -> None:
    assert push(tmp_path, registry) == push(tmp_path, registry)


def test_the_manifest_says_what_it_holds(tmp_path: Path, registry: str) -> None:
    uri = push(tmp_path, registry)[-1]
    content, manifest = manifest_of(uri)
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == uri.split("@")[1]
    assert manifest["artifactType"] == ARTIFACT_TYPE
    title = "org.opencontainers.image.title"
    assert {layer["annotations"][title]: layer["mediaType"] for layer in manifest["layers"]} == {
        CHOSEN: "application/vnd.quanary.model.v1+onnx",
        "report.json": "application/vnd.quanary.report.v1+json",
        "report.html": "text/html",
        "statement.json": "application/vnd.in-toto+json",
        f"{CHOSEN}.sig": "application/vnd.dev.sigstore.bundle.v0.3+json",
    }
    assert manifest["layers"][0]["annotations"][title] == CHOSEN


def test_an_end_half_way_through_the_blobs_publishes_nothing(
    tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[str] = []
    upload = Client.upload_blob

    def fail_at_the_chosen_model(self: Client, blob: str, *rest: Any) -> Any:
        uploads.append(Path(blob).name)
        if Path(blob).name == CHOSEN:
            raise ConnectionResetError
        return upload(self, blob, *rest)

    monkeypatch.setattr(Client, "upload_blob", fail_at_the_chosen_model)
    with pytest.raises(ConnectionResetError):
        push(tmp_path, registry, "team/half")
    assert "model-int8-safest.onnx" in uploads
    assert tags(registry, "team/half") == []
    monkeypatch.undo()
    push(tmp_path, registry, "team/half")
    assert sorted(tags(registry, "team/half")) == sorted(DIGESTS.values())


def test_a_manifest_that_is_read_back_as_no_json_may_be_tried_again(
    tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Client.do_request

    def page(self: Client, url: str, method: str = "GET", *rest: Any, **more: Any) -> Any:
        response = ask(self, url, method, *rest, **more)
        if method == "GET" and "/manifests/" in url:
            response._content = b"<html>welcome</html>"
        return response

    monkeypatch.setattr(Client, "do_request", page)
    with pytest.raises(UnreachableError, match="another manifest than the one just pushed"):
        push(tmp_path, registry, "team/proxied")


def test_a_model_that_is_not_what_its_report_says_is_not_pushed(tmp_path: Path, registry: str) -> None:
    write_folder(tmp_path)
    (tmp_path / CHOSEN).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"model-int8.onnx has sha256"):
        publish((Publication(tmp_path / CHOSEN, DIGEST, ()),), f"oci://{registry}/team/wrong", field=FIELD,
                insecure_hosts=frozenset({registry}))  # fmt: skip
    assert tags(registry, "team/wrong") == []


def test_a_whole_artifact_comes_back_as_it_was(tmp_path: Path, registry: str) -> None:
    (tmp_path / "out").mkdir()
    digest = push(tmp_path / "out", registry)[-1].split("@")[1]
    files = pull(OciFile(registry, "team/model", digest), tmp_path / "in", field="ARTIFACT",
                 insecure_hosts=frozenset({registry}))  # fmt: skip
    assert {each.name for each in files} == {CHOSEN, "report.json", "report.html", "statement.json", f"{CHOSEN}.sig"}
    for each in files:
        assert each.read_bytes() == (tmp_path / "out" / each.name).read_bytes()


@pytest.mark.parametrize("title", ["../report.json", "/etc/passwd", ".hidden", "a/b", "x" * 200, "report.json\n"])
def test_a_title_that_is_no_plain_file_name_is_refused(tmp_path: Path, registry: str, title: str) -> None:
    write_folder(tmp_path)
    push_titled(tmp_path, registry, title)
    with pytest.raises(RefusedError, match="plain file names"):
        pull(OciFile(registry, "team/evil", "latest"), tmp_path / "in", field="ARTIFACT",
             insecure_hosts=frozenset({registry}))  # fmt: skip
    assert not (tmp_path / "in").exists()


def push_titled(folder: Path, host: str, title: str) -> None:
    """A manifest whose layer has a hostile title, as `latest`."""
    uri = publish((Publication(folder / CHOSEN, DIGEST, ()),), f"oci://{host}/team/evil", field=FIELD,
                  insecure_hosts=frozenset({host}))[0]  # fmt: skip
    _, manifest = manifest_of(uri)
    manifest["layers"][0]["annotations"]["org.opencontainers.image.title"] = title
    request = urllib.request.Request(
        f"http://{host}/v2/team/evil/manifests/latest",
        data=json.dumps(manifest).encode(),
        method="PUT",
        headers={"Content-Type": manifest["mediaType"]},
    )
    with urllib.request.urlopen(request) as response:
        assert response.status == 201


def test_a_manifest_without_the_wanted_digest_is_refused_unread(tmp_path: Path, registry: str) -> None:
    uri = push(tmp_path, registry)[-1]
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
        uri = push(tmp_path, host)[-1]
        blob = tmp_path / "blobs/docker/registry/v2/blobs/sha256" / DIGEST[:2] / DIGEST / "data"
        content = bytearray(blob.read_bytes())
        content[7] ^= 0x10
        blob.write_bytes(content)
        with pytest.raises(RefusedError, match=r"spec.model.sha256"):
            read(uri, host, tmp_path / "x")
        with pytest.raises(RefusedError, match=r"ARTIFACT\.sha256"):
            pull(OciFile(host, "team/model", uri.split("@")[1]), tmp_path / "in", field="ARTIFACT",
                 insecure_hosts=frozenset({host}))  # fmt: skip


def test_a_repository_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"spec.artifacts.repository"):
        publish((), "https://x.example/y", field=FIELD, insecure_hosts=frozenset())


def test_a_registry_that_is_away_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        push(tmp_path, f"127.0.0.1:{free_port()}")
