"""The whole program on a small real model."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from quanary.artifacts.fetch import fetch
from quanary.artifacts.verify import Wanted, digest_of
from quanary.quantizer import benefit
from quanary.quantizer.__main__ import main
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Handover
from tests.artifacts.services import free_port
from tests.quantizer.models import images, save, save_shards

Run = Callable[..., tuple[int, Handover | None, dict[str, Any]]]


@pytest.fixture
def arguments(tmp_path: Path, source: Path, calibration: Path, sealed: Path) -> QuantizeArguments:
    return QuantizeArguments(
        model=str(source),
        calibration=str(calibration),
        validation=str(sealed),
        metric="accuracy",
        max_drop=0.05,
        out=str(tmp_path / "out"),
        min_speedup=0.1,
        inputs="i" * 64,
        termination_log=str(tmp_path / "log"),
    )


@pytest.fixture
def run(arguments: QuantizeArguments, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run with some arguments changed: exit code, handover, report."""
    monkeypatch.setattr(benefit, "BLOCK_SECONDS", 0.01)

    def call(**changes: Any) -> tuple[int, Handover | None, dict[str, Any]]:
        changed = replace(arguments, **changes)
        code = main(changed.render())
        log, report = Path(changed.termination_log), Path(changed.out) / "report.json"
        handover = Handover.model_validate_json(log.read_text()) if log.exists() else None
        return code, handover, json.loads(report.read_text()) if report.exists() else {}

    return call


def test_a_good_artifact_is_certified_and_described(run: Run, source: Path, tmp_path: Path) -> None:
    code, handover, report = run()
    assert code == 0
    assert report["verdict"] == "Beneficial"
    artifact = tmp_path / "out" / report["artifact"]["file"]
    assert report["artifact"]["sha256"] == digest_of(artifact)
    assert report["artifact"]["sizeRatio"] == artifact.stat().st_size / source.stat().st_size
    assert report["artifact"]["latencyRatio"] > 0
    assert report["model"]["sha256"] == digest_of(source)
    signoff = report["signoff"]
    assert signoff["metric"] == "accuracy"
    assert signoff["samples"] == 600
    assert signoff["drop"] == pytest.approx(signoff["float"] - signoff["int8"])
    assert signoff["drop"] < signoff["dropUpperBound"] <= 0.05
    assert report["samplesInBoth"] == 0
    assert report["graph"]["quantizedNodes"] == ["stem", "body", "head/MatMulAddFusion"]
    assert handover is not None
    assert (handover.inputs, handover.verdict, handover.refusal) == ("i" * 64, "Beneficial", None)
    assert handover.artifact is not None
    assert handover.artifact.sha256 == report["artifact"]["sha256"]
    assert handover.report_sha256 == digest_of(tmp_path / "out" / "report.json")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model-int8.onnx", "report.json"]


def test_the_same_inputs_give_the_same_artifact(run: Run, tmp_path: Path) -> None:
    first, second = (run(out=str(tmp_path / name))[2]["artifact"]["sha256"] for name in ("a", "b"))
    assert first == second


def test_a_certified_artifact_is_published_by_digest(run: Run, registry: str, tmp_path: Path) -> None:
    code, handover, report = run(publish=f"oci://{registry}/team/toy", insecure_host=(registry,), min_speedup=50.0)
    assert (code, report["verdict"]) == (0, "NotBeneficial")
    assert handover is not None
    assert handover.uri.startswith(f"oci://{registry}/team/toy@sha256:")
    wanted = Wanted(handover.uri, report["artifact"]["sha256"], "f")
    fetched = fetch(wanted, tmp_path / "pulled.onnx", frozenset({registry}), 1 << 30)
    assert fetched.path.read_bytes() == (tmp_path / "out" / "model-int8.onnx").read_bytes()


def test_too_few_samples_are_not_certifiable_and_nothing_is_published(run: Run, registry: str) -> None:
    code, handover, report = run(max_drop=0.001, metric="agreement", publish=f"oci://{registry}/team/few")
    assert code == 0
    assert report["verdict"] in {"NotCertifiable", "OverBudget"}
    assert handover is not None
    assert handover.uri == ""
    assert handover.artifact is not None


def spoiled(source: Path, path: Path) -> Path:
    """The model with its last weights turned around: valid, and wrong."""
    model = onnx.load(source)
    for each in model.graph.initializer:
        if each.name == "w3":
            each.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(each), each.name))
    return save(model, path)


def test_a_provided_artifact_goes_through_the_same_certification(run: Run, source: Path, tmp_path: Path) -> None:
    bad = spoiled(source, tmp_path / "bad.onnx")
    code, handover, report = run(calibration="", provided=str(bad), provided_sha256=digest_of(bad))
    assert (code, report["verdict"]) == (0, "OverBudget")
    assert report["artifact"]["sha256"] == digest_of(bad)
    assert report["settings"]["strategy"] == "Provided"
    assert report["signoff"]["drop"] > 0.3
    assert handover is not None
    assert "the budget is 0.05" in handover.because


def test_a_provided_artifact_of_another_shape_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    model = onnx.load(source)
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"
    code, handover, _ = run(calibration="", provided=str(save(model, tmp_path / "other.onnx")))
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert handover.refusal.field == "spec.quantization.provided.uri"
    assert "picture" in handover.refusal.found


def test_sealed_samples_that_were_calibrated_on_are_counted(run: Run, sealed: Path) -> None:
    assert run(calibration=str(sealed), samples=50)[2]["samplesInBoth"] == 50


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": "nothing.onnx"}, "spec.model.uri"),
        ({"model_sha256": "0" * 64}, "spec.model.sha256"),
        ({"calibration_sha256": "0" * 64}, "spec.quantization.calibration.data.sha256"),
        ({"validation_sha256": "0" * 64}, "spec.validation.data.sha256"),
        ({"validation": "nothing"}, "spec.validation.data.uri"),
        ({"calibration": ""}, "spec.quantization.calibration.data"),
        ({"provided": "nothing.onnx"}, "spec.quantization.provided.uri"),
        ({"keep_float": ("no-such-node",)}, "spec.quantization.keepFloat"),
        ({"metric": "f1"}, "spec.validation.metric"),
        ({"max_drop": 0.0}, "spec.validation.maxDrop"),
        ({"max_drop": 1.5}, "spec.validation.maxDrop"),
        ({"confidence": 1.0}, "spec.validation.confidence"),
        ({"samples": 0}, "spec.quantization.calibration.samples"),
        ({"model": "ftp://files.example/m.onnx"}, "spec.model.uri"),
        ({"model": "http://files.example/m.onnx"}, "spec.model.uri"),
        ({"publish": "https://files.example"}, "spec.artifacts.repository"),
    ],
)
def test_a_refusal_names_the_field(run: Run, capsys: pytest.CaptureFixture[str], changes: Any, field: str) -> None:
    code, handover, _ = run(**changes)
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert handover.refusal.field == field
    assert handover.verdict is None
    assert f"refused: {handover.refusal.sentence}" in capsys.readouterr().err


def test_a_flipped_byte_in_the_model_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(content)
    code, handover, report = run(model=str(tmp_path / "flipped.onnx"), model_sha256=digest_of(source))
    assert (code, report) == (1, {})
    assert handover is not None
    assert handover.refusal is not None
    assert hashlib.sha256(content).hexdigest() in handover.refusal.found


@pytest.mark.parametrize(
    ("label", "found"), [(None, "without an array `label`"), (np.array([0, 99]), "sample 1: label 99")]
)
def test_labels_that_do_not_fit_are_refused(run: Run, tmp_path: Path, label: Any, found: str) -> None:
    arrays = {"image": images(2, seed=1)} | ({} if label is None else {"label": label})
    code, handover, _ = run(validation=str(save_shards(tmp_path / "v", arrays)))
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert found in handover.refusal.found


def test_a_store_that_is_away_is_tried_again_and_blamed_on_nobody(run: Run) -> None:
    host = f"127.0.0.1:{free_port()}"
    code, handover, _ = run(model=f"oci://{host}/team/model:v1", insecure_host=(host,))
    assert (code, handover) == (75, None)
