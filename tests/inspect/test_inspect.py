"""`quanary inspect`, as a person and as a machine run it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from quanary.artifacts.publish import publications_of, publish
from quanary.artifacts.signing import sign
from quanary.inspect.__main__ import main
from quanary.wire.report import SCHEMA_VERSION
from tests.artifacts.services import free_port, running_registry
from tests.artifacts.test_signing import flip, write_key
from tests.quantizer.report.reports import ATTACK, DIGESTS, full, hostile, minimal, write_folder

CHOSEN: Final = "model-int8.onnx"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours.pem", "theirs.pem"):
        write_key(folder / name, ec.generate_private_key(ec.SECP256R1()))
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Unsigned."""
    return write_folder(tmp_path)


@pytest.fixture
def signed(folder: Path, keys: Path) -> Path:
    for name in DIGESTS:
        sign(folder / name, keys / "ours.pem")
    return folder


def as_json(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> dict[str, Any]:
    assert main(["--json", *words]) == status
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["ok"] is (status == 0)
    return document


def test_a_folder_is_told_of_in_full(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    report = full()
    for expected in (
        "Beneficial",
        "2.91 times as fast",
        report.artifact.sha256,
        "0.0041 of agreement, at most 0.0083 with 95 % confidence; budget 0.01",
        "2.91 times the float model's (2.7 to 3.13 at batch 1)",
        "seal opened once",
        "0.586 of the float model's",
        "safest",
        "3 calibration samples were excluded",
        report.model.sha256,
        report.validation.sha256,
        "onnxruntime 1.32.0",
        "is the file of the report",
        "unsigned",
        "agrees",
    ):
        assert expected in text


@pytest.mark.parametrize("name", ["", "report.json", CHOSEN])
def test_folder_report_and_model_lead_to_the_same_artifact(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    document = as_json(capsys, str(folder / name))
    assert (document["sha256"], document["verdict"]) == (DIGESTS[CHOSEN], "Beneficial")
    assert document["models"][0]["found"] == DIGESTS[CHOSEN]
    assert document["report"] == json.loads(full().to_json())


def test_a_model_of_the_front_is_told_of_with_its_own_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "model-int8-safest.onnx")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "safest of the front" in text
    assert "0.0009 of agreement, at most 0.0021" in text


def test_a_report_without_its_models_is_read_all_the_same(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(folder / "report.json", tmp_path_factory.mktemp("alone") / "a-report.json")
    document = as_json(capsys, str(alone))
    assert [each["found"] for each in document["models"]] == ["", "", ""]
    assert document["statement"] == "absent"


def test_a_model_below_the_report_is_found_and_one_above_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = full()
    (folder / "front").mkdir()
    (folder / "model-int8-safer.onnx").rename(folder / "front/safer.onnx")
    (folder / "model-int8-safest.onnx").rename(folder.parent / "safest.onnx")
    moved = {"model-int8-safer.onnx": "front/safer.onnx", "model-int8-safest.onnx": "../safest.onnx"}
    front = tuple(
        each.model_copy(
            update={
                "artifact": each.artifact.model_copy(update={"file": moved.get(each.artifact.file, each.artifact.file)})
            }
        )
        for each in report.front
    )
    (folder / "report.json").write_text(report.model_copy(update={"front": front}).to_json())
    (folder / "statement.json").unlink()
    found = {each["file"]: each["found"] for each in as_json(capsys, str(folder))["models"]}
    assert found["front/safer.onnx"] == DIGESTS["model-int8-safer.onnx"]
    assert found["../safest.onnx"] == ""


def test_a_report_with_hardly_any_part_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_folder(tmp_path, minimal()))]) == 0
    assert "OverBudget" in capsys.readouterr().out


def test_a_model_that_differs_from_its_report_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(folder / CHOSEN)
    document = as_json(capsys, str(folder), status=1)
    assert f"its report says {DIGESTS[CHOSEN]}" in document["problems"][0]
    assert "which the report does not tell of" in as_json(capsys, str(folder / CHOSEN), status=1)["problems"][0]


def test_what_is_wrong_stands_right_below_the_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(folder / CHOSEN)
    assert main([str(folder)]) == 1
    text = capsys.readouterr().out
    assert text.index("verdict") < text.index("not to be trusted") < text.index("lineage")


def test_a_statement_of_another_run_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "statement.json").write_text((folder / "statement.json").read_text().replace("Beneficial", "SizeOnly"))
    document = as_json(capsys, str(folder), status=1)
    assert document["statement"] == "differs"


def test_a_report_changed_after_its_statement_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "report.json").read_text()
    (folder / "report.json").write_text(text.replace("3 calibration samples", "no calibration samples"))
    assert as_json(capsys, str(folder), status=1)["statement"] == "differs"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"predicate": 1}', "[" * 100_000])
def test_a_statement_that_is_none_is_said(folder: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (folder / "statement.json").write_text(content)
    assert as_json(capsys, str(folder), status=1)["statement"] == "differs"


def test_without_a_key_a_signature_is_named_and_not_trusted(signed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {each["signature"] for each in as_json(capsys, str(signed))["models"]} == {"unverified"}


def test_every_model_of_a_folder_verifies_with_its_key(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = as_json(capsys, str(signed), "--key", str(keys / "ours.pub"))
    assert [each["signature"] for each in document["models"]] == ["verified"] * 3


@pytest.mark.parametrize("name", ["model-int8-safer.onnx", "report.json", "report.html", "statement.json"])
def test_a_changed_byte_fails_verification(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = signed / name
    path.write_bytes(path.read_bytes()[:-1])
    document = as_json(capsys, str(signed), "--key", str(keys / "ours.pub"), status=1)
    assert "failed" in {each["signature"] for each in document["models"]}


def test_another_key_fails_verification(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = as_json(capsys, str(signed), "--key", str(keys / "theirs.pub"), status=1)
    assert {each["signature"] for each in document["models"]} == {"failed"}


def test_an_unsigned_artifact_says_so_and_does_not_verify(
    folder: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = as_json(capsys, str(folder), "--key", str(keys / "ours.pub"), status=1)
    assert f"{CHOSEN} is not signed" in document["problems"]


def test_a_report_alone_cannot_be_verified(
    signed: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copy(signed / "report.json", tmp_path_factory.mktemp("alone"))
    document = as_json(capsys, str(alone), "--key", str(keys / "ours.pub"), status=1)
    assert document["problems"] == ["no model file here to verify the signature of"]


def test_a_published_artifact_is_fetched_and_verified(
    signed: Path, keys: Path, registry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = frozenset({registry})
    uris = publish(publications_of(full(), signed), f"oci://{registry}/speech/vad", field="f", insecure_hosts=hosts)
    for uri, entry in zip(uris, full().front, strict=True):
        words = (uri, "--key", str(keys / "ours.pub"), "--insecure-host", registry)
        document = as_json(capsys, *words)
        assert document["sha256"] == entry.artifact.sha256
        assert [each["signature"] for each in document["models"]] == ["verified"]


def test_a_blob_that_was_tampered_with_fails(
    signed: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path_factory.mktemp("registry")
    with running_registry(root) as host:
        uri = publish(
            publications_of(full(), signed), f"oci://{host}/a/b", field="f", insecure_hosts=frozenset({host})
        )[-1]
        digest = DIGESTS[CHOSEN]
        flip(root / "blobs/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data")
        assert main([uri, "--insecure-host", host]) == 1
    assert digest in capsys.readouterr().err


def test_a_registry_that_is_away_may_be_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    host = f"127.0.0.1:{free_port()}"
    assert main([f"oci://{host}/a/b", "--insecure-host", host]) == 75
    assert "not now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nothing", None, "no file or folder"),
        ("other.json", b"{}", "validation errors"),
        ("other.json", b"\xff", "Invalid JSON"),
        ("other.json", b"[" * 100_000, "Invalid JSON"),
        ("model.onnx", b"alone", "no report.json in"),
        (".", None, "no report.json in"),
        ("later.json", b"later", f"schema version {SCHEMA_VERSION + 1}"),
    ],
)
def test_what_is_no_artifact_is_misuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, expected: str
) -> None:
    if content == b"later":
        content = full().model_copy(update={"schema_version": SCHEMA_VERSION + 1}).to_json().encode()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main([str(tmp_path / name)]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    "uri", ["https://x.example/report.json", "s3://bucket/a", "oci://host.example/UPPER", "file:///etc"]
)
def test_a_uri_of_another_kind_is_misuse(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([uri]) == 2
    assert "refused: ARTIFACT" in capsys.readouterr().err


def test_a_key_that_is_none_is_misuse(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--key", str(folder / "report.json")]) == 2
    assert "refused: --key" in capsys.readouterr().err


def test_a_hostile_report_reaches_neither_terminal_nor_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = hostile()
    outside = report.front[0].artifact.model_copy(update={"file": "../outside", "sha256": "0" * 64})
    front = (report.front[0].model_copy(update={"artifact": outside}), *report.front[1:])
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").write_text("not the report's business")
    (inside / "report.json").write_text(report.model_copy(update={"front": front}).to_json())
    assert main([str(inside)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert ATTACK[:20] in text
    assert "differs" not in text


def test_it_runs_as_a_command_and_loads_no_model_parser(folder: Path) -> None:
    code = (
        "import sys; from quanary.__main__ import main; sys.argv = ['quanary', 'inspect', sys.argv[1]]\n"
        "status = main()\n"
        "loaded = [each for each in ('onnx', 'onnxruntime', 'numpy') if each in sys.modules]; "
        "sys.exit(f'loaded {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Beneficial" in done.stdout
