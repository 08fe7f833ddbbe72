import hashlib
import json
from pathlib import Path

import pytest

from quanary.artifacts import locate
from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.fetch import Fetched, fetch, fetch_or_use, local_path
from quanary.artifacts.verify import Wanted
from quanary.wire.report import RefusedError
from tests.artifacts.services import free_port, registry_of, web_server

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def get(uri: str, to: Path, host: str = "", limit: int = 1 << 20) -> Fetched:
    return fetch(Wanted(uri, DIGEST, "spec.model"), to / "model.onnx", frozenset({host}), limit)


@pytest.mark.parametrize("page", ["file", "again"])
def test_a_web_file_is_fetched_also_by_a_redirect_on_its_host(tmp_path: Path, page: str) -> None:
    with web_server(CONTENT) as host:
        fetched = get(f"http://{host}/{page}", tmp_path, host)
    assert fetched == Fetched(tmp_path / "model.onnx", DIGEST)
    assert fetched.path.read_bytes() == CONTENT


def test_a_redirect_to_another_host_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(RefusedError, match=r"a redirect of .* to https://elsewhere.example")
    with web_server(CONTENT, elsewhere="https://elsewhere.example/file") as host, refused:
        get(f"http://{host}/away", tmp_path, host)


@pytest.mark.parametrize(("page", "found"), [("missing", "404"), ("file", "sha256")])
def test_what_a_person_must_mend_is_refused(tmp_path: Path, page: str, found: str) -> None:
    with web_server(CONTENT + b"x") as host, pytest.raises(RefusedError) as caught:
        get(f"http://{host}/{page}", tmp_path, host)
    assert found in caught.value.refusal.found
    assert list(tmp_path.iterdir()) == []


def test_what_may_pass_is_no_refusal(tmp_path: Path) -> None:
    with web_server(CONTENT) as host, pytest.raises(UnreachableError, match="500"):
        get(f"http://{host}/busy", tmp_path, host)


def test_nobody_listening_is_no_refusal(tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match="cannot be reached"):
        get(f"http://{host}/file", tmp_path, host)


def test_a_size_over_the_limit_is_refused(tmp_path: Path) -> None:
    with web_server(CONTENT) as host, pytest.raises(RefusedError, match="more than 100 bytes"):
        get(f"http://{host}/file", tmp_path, host, limit=100)


def test_a_layer_is_what_its_manifest_says_also_where_nobody_gave_a_sha256(tmp_path: Path) -> None:
    layer = {"digest": f"sha256:{DIGEST}", "annotations": {"org.opencontainers.image.title": "model.onnx"}}
    manifest = json.dumps({"layers": [layer]}).encode()
    for content, is_right in ((CONTENT, True), (CONTENT[:-1] + b"?", False)):
        with registry_of(manifest, content) as host:
            wanted = Wanted(f"oci://{host}/team/model:1", "", "spec.model")
            if is_right:
                assert fetch(wanted, tmp_path / "m", frozenset({host}), 1 << 20).sha256 == DIGEST
                (tmp_path / "m").unlink()
                continue
            with pytest.raises(RefusedError, match=f"allowed: sha256:{DIGEST}, as its manifest says"):
                fetch(wanted, tmp_path / "m", frozenset({host}), 1 << 20)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "manifest",
    [b"[" * 100_000, b"[]", b"\xff", b'{"layers": 7}', b'{"layers": [7]}', b'{"layers": [{"digest": 7}]}',
     b'{"layers": [{"digest": "sha256:0", "annotations": {"org.opencontainers.image.title": 7}}]}', bytes(5 << 20)],
    ids=lambda manifest: manifest[:20].decode(errors="replace"),
)  # fmt: skip
@pytest.mark.parametrize("sha256", ["", DIGEST])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, manifest: bytes, sha256: str) -> None:
    with registry_of(manifest, CONTENT) as host, pytest.raises(RefusedError, match="an OCI image manifest"):
        fetch(Wanted(f"oci://{host}/m:1", sha256, "spec.model"), tmp_path / "m", frozenset({host}), 1 << 20)
    assert list(tmp_path.iterdir()) == []


def test_loopback_is_refused_by_name(tmp_path: Path) -> None:
    with web_server(CONTENT) as host, pytest.raises(RefusedError, match="loopback"):
        get(f"https://localhost:{host.split(':')[1]}/file", tmp_path)


def test_a_local_file_is_used_where_it_is_once_verified(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(CONTENT)
    wanted = Wanted(str(model), DIGEST, "spec.model")
    assert fetch_or_use(wanted, tmp_path / "copy", frozenset(), 1 << 20, ".onnx") == Fetched(model, DIGEST)
    assert not (tmp_path / "copy").exists()
    with pytest.raises(RefusedError, match=r"spec.model.sha256"):
        fetch_or_use(Wanted(str(model), "0" * 64, "spec.model"), tmp_path / "c", frozenset(), 1 << 20, ".onnx")


def test_a_missing_local_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"spec.model.uri: found no file"):
        get(str(tmp_path / "nothing.onnx"), tmp_path)


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The claim `models` as a pod has it mounted."""
    monkeypatch.setattr(locate, "CLAIMS", tmp_path / "pvc")
    folder = tmp_path / "pvc" / "models"
    (folder / "v1").mkdir(parents=True)
    (folder / "v1" / "m.onnx").write_bytes(CONTENT)
    return folder


def test_a_file_of_a_claim_is_fetched_and_used_as_a_local_one(tmp_path: Path, claim: Path) -> None:
    assert get("pvc://models/v1/m.onnx", tmp_path).path.read_bytes() == CONTENT
    wanted = Wanted("pvc://models/v1/m.onnx", DIGEST, "spec.model")
    assert fetch_or_use(wanted, tmp_path / "x", frozenset(), 1 << 20, ".onnx").path == claim / "v1" / "m.onnx"
    assert local_path(Wanted("pvc://models/v1", "", "f")) == claim / "v1"


def test_what_is_not_local_has_no_local_path() -> None:
    assert local_path(Wanted("s3://bucket/key", "", "f")) is None


@pytest.mark.parametrize("uri", ["pvc://models/way/out.onnx", "pvc://models/way", "pvc://models"])
def test_a_link_out_of_a_claim_is_refused(tmp_path: Path, claim: Path, uri: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "out.onnx").write_bytes(CONTENT)
    (claim / "way").symlink_to(tmp_path / "secrets")
    for use in (local_path, lambda wanted: fetch(wanted, tmp_path / "m", frozenset(), 1 << 20)):
        if uri.endswith(".onnx") or use is local_path:
            with pytest.raises(RefusedError, match="a link out of the claim"):
                use(Wanted(uri, DIGEST, "spec.model"))
    assert not (tmp_path / "m").exists()


def test_a_link_within_a_claim_is_followed(tmp_path: Path, claim: Path) -> None:
    (claim / "latest").symlink_to("v1")
    assert get("pvc://models/latest/m.onnx", tmp_path).sha256 == DIGEST
