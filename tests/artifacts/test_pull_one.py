"""One file out of a published artifact: by its title, verified by its layer's digest, or not there at all."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from quanary.artifacts.__main__ import main
from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.locate import OciFile
from quanary.artifacts.publish import publications_of, publish
from quanary.artifacts.pull import pull_one
from quanary.wire.launch import FetchArguments
from quanary.wire.report import REPORT_FILE, RefusedError
from tests.artifacts.services import free_port, registry_of, web_server
from tests.quantizer.report.reports import DIGESTS, MODELS, full, write_folder

CHOSEN = "model-int8.onnx"
DIGEST = DIGESTS[CHOSEN]
REPORT = full().to_json().encode()


def published(folder: Path, host: str) -> str:
    """The URI of the chosen artifact of a real run's folder."""
    report = full()
    write_folder(folder, report)
    uris = publish(
        publications_of(report, folder), f"oci://{host}/pull/one", field="f", insecure_hosts=frozenset({host})
    )
    return uris[-1]


def take(host: str, reference: str, to: Path, limit: int = 1 << 20) -> Path:
    file = OciFile(host, "pull/one", reference)
    return pull_one(file, REPORT_FILE, to, field="artifact", insecure_hosts=frozenset({host}), limit_bytes=limit)


def manifest(**layers: str) -> bytes:
    """With a layer of each title (an underscore for a dot) and digest."""
    described: list[dict[str, Any]] = [
        {"digest": digest, "annotations": {"org.opencontainers.image.title": title.replace("_", ".")}}
        for title, digest in layers.items()
    ]
    return json.dumps({"layers": described}).encode()


def fetch_words(uri: str, folder: Path, host: str, sha256: str = DIGEST) -> list[str]:
    return FetchArguments(
        uri=uri,
        sha256=sha256,
        out=str(folder / "got" / "model.onnx"),
        report_out=str(folder / "got" / "report.json"),
        field="artifact",
        insecure_host=(host,),
    ).render()


def test_the_report_of_a_published_artifact(tmp_path: Path, registry: str) -> None:
    uri = published(tmp_path, registry)
    to = take(registry, uri.partition("@")[2], tmp_path / "r.json")
    assert to.read_bytes() == REPORT


def test_a_report_that_is_too_large_is_refused(tmp_path: Path, registry: str) -> None:
    reference = published(tmp_path, registry).partition("@")[2]
    with pytest.raises(RefusedError, match="more than 100 bytes"):
        take(registry, reference, tmp_path / "r.json", limit=100)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({"model_onnx": f"sha256:{DIGEST}"}, "layers titled model.onnx"),
        ({"report_json": f"sha256:{DIGEST}"}, "sha256"),
        ({"report_json": "sha256:"}, "layers titled"),
        ({"report_json": "md5:0"}, "layers titled"),
    ],
    ids=["none", "another content", "no digest", "another digest"],
)
def test_what_is_no_report_by_its_digest_is_refused(tmp_path: Path, layers: dict[str, str], found: str) -> None:
    with registry_of(manifest(**layers), REPORT) as host, pytest.raises(RefusedError, match=found):
        take(host, "1", tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_is_not_there_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        take(f"127.0.0.1:{free_port()}", "1", tmp_path / "r.json")


def test_the_init_container_brings_model_and_report(tmp_path: Path, registry: str) -> None:
    assert main(fetch_words(published(tmp_path, registry), tmp_path, registry)) == 0
    assert (tmp_path / "got" / "model.onnx").read_bytes() == MODELS[CHOSEN]
    assert (tmp_path / "got" / "report.json").read_bytes() == REPORT


def test_a_report_that_cannot_be_written_keeps_no_model_away(tmp_path: Path, registry: str) -> None:
    words = fetch_words(published(tmp_path, registry), tmp_path, registry)
    (tmp_path / "got" / "report.json").mkdir(parents=True)
    assert main(words) == 0
    assert (tmp_path / "got" / "model.onnx").read_bytes() == MODELS[CHOSEN]


def test_a_model_without_a_report_is_fetched_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    with web_server(content) as host:
        assert main(fetch_words(f"http://{host}/file", tmp_path, host, digest)) == 0
    assert "no report: " in capsys.readouterr().err
    for layers in (
        {"model_onnx": f"sha256:{digest}"},
        {"a_onnx": f"sha256:{digest}", "report_json": "sha256:" + "0" * 64},
    ):
        with registry_of(manifest(**layers), content) as host:
            assert main(fetch_words(f"oci://{host}/m:1", tmp_path, host, digest)) == 0
        assert "no report: " in capsys.readouterr().err
    assert [each.name for each in (tmp_path / "got").iterdir()] == ["model.onnx"]
