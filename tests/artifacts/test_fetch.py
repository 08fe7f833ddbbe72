import hashlib
from pathlib import Path

import pytest

from quanary.artifacts.fetch import Fetched, UnreachableError, fetch, fetch_or_use
from quanary.artifacts.verify import Wanted
from quanary.wire.report import RefusedError
from tests.artifacts.services import free_port, web_server

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
