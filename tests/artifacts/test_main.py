import hashlib
import json
from pathlib import Path

import pytest

from quanary.artifacts.__main__ import main
from quanary.wire.launch import FetchArguments
from tests.artifacts.services import free_port, web_server

CONTENT = b"weights" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def words(uri: str, folder: Path, host: str, sha256: str = DIGEST) -> list[str]:
    return FetchArguments(
        uri=uri,
        sha256=sha256,
        out=str(folder / "model.onnx"),
        insecure_host=(host,),
        termination_log=str(folder / "log"),
    ).render()


def test_a_verified_file_appears_and_no_refusal(tmp_path: Path) -> None:
    with web_server(CONTENT) as host:
        assert main(words(f"http://{host}/file", tmp_path, host)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_refusal_is_left_for_the_controller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with web_server(CONTENT) as host:
        assert main(words(f"http://{host}/file", tmp_path, host, "0" * 64)) == 1
    refusal = json.loads((tmp_path / "log").read_text())["refusal"]
    assert refusal["field"] == "spec.model.sha256"
    assert DIGEST in refusal["found"]
    assert "0" * 64 in refusal["allowed"]
    assert "refused: spec.model.sha256" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_an_unreachable_store_is_tried_again_and_blamed_on_nobody(tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    assert main(words(f"http://{host}/file", tmp_path, host)) == 75
    assert list(tmp_path.iterdir()) == []
