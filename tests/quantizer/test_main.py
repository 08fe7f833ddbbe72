"""The whole program on a small real model."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from onnx import numpy_helper

from quanary.artifacts.fetch import fetch
from quanary.artifacts.signing import BadSignatureError, verify
from quanary.artifacts.verify import Wanted, digest_of
from quanary.quantizer import judging
from quanary.quantizer.__main__ import main
from quanary.quantizer.inference import open_model
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Handover, Opening, RefusedError
from tests.artifacts.services import free_port
from tests.quantizer.models import Floats, answers, images, save, save_shards

Run = Callable[..., tuple[int, Handover | None, dict[str, Any]]]


@pytest.fixture
def arguments(tmp_path: Path, source: Path, calibration: Path, sealed: Path) -> QuantizeArguments:
    return QuantizeArguments(
        model=str(source),
        calibration=str(calibration),
        validation=str(sealed),
        metric="accuracy",
        strategy="static",
        max_drop=0.05,
        out=str(tmp_path / "out"),
        min_speedup=0.1,
        inputs="i" * 64,
        termination_log=str(tmp_path / "log"),
    )


@pytest.fixture
def run(arguments: QuantizeArguments, quick_benefit: None) -> Run:
    """Run with some arguments changed: exit code, handover, report."""

    def call(**changes: Any) -> tuple[int, Handover | None, dict[str, Any]]:
        changed = replace(arguments, **changes)
        code = main(changed.render())
        log, report = Path(changed.termination_log), Path(changed.out) / "report.json"
        handover = Handover.model_validate_json(log.read_text()) if log.exists() else None
        return code, handover, json.loads(report.read_text()) if report.exists() else {}

    return call


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, Path]:
    """Private and public."""
    pair, private, public = ec.generate_private_key(ec.SECP256R1()), tmp_path / "key.pem", tmp_path / "pub.pem"
    private.write_bytes(pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def test_a_good_artifact_is_certified_and_described(run: Run, source: Path, tmp_path: Path) -> None:
    code, handover, report = run(max_evaluations=1)  # the likeliest recipe, so that its nodes are known
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
    [drift] = report["drift"]
    assert handover.out_of_range_budget == drift["outOfRangeBudget"] > 0
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    others = [each["artifact"]["file"] for each in report["front"] if each["artifact"] != report["artifact"]]
    shared = [".cache", "model-int8.onnx", "report.html", "report.json", "seal.json", "statement.json"]
    assert left == sorted([*shared, *others])


def test_the_same_inputs_give_the_same_artifact(run: Run, tmp_path: Path) -> None:
    first, second = (run(out=str(tmp_path / name), max_evaluations=1)[2]["artifact"] for name in ("a", "b"))
    assert first["sha256"] == second["sha256"]


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
    code, handover, report = run(calibration="", strategy="provided", provided=str(bad), provided_sha256=digest_of(bad))
    assert (code, report["verdict"]) == (0, "OverBudget")
    assert report["artifact"]["sha256"] == digest_of(bad)
    assert report["settings"]["strategy"] == "provided"
    assert report["signoff"]["drop"] > 0.3
    # Float weights: without the runtime's optimisations it computes the same.
    assert report["gap"]["dropOnKernels"] == pytest.approx(report["gap"]["dropEmulated"])
    assert not report["gap"]["saturates"]
    assert handover is not None
    assert "the budget is 0.05" in handover.because


def test_a_provided_artifact_of_another_shape_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    model = onnx.load(source)
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"
    code, handover, _ = run(calibration="", strategy="provided", provided=str(save(model, tmp_path / "other.onnx")))
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert handover.refusal.field == "spec.quantization.provided.uri"
    assert "picture" in handover.refusal.found


def refused(handover: Handover | None) -> str:
    assert handover is not None
    assert handover.refusal is not None
    return handover.refusal.sentence


def test_a_provided_artifact_with_other_outputs_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    model = onnx.load(source)
    for each in model.graph.initializer:
        if each.name in {"w3", "b3"}:
            each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each)[..., :2].copy(), each.name))
    code, handover, _ = run(calibration="", strategy="provided", provided=str(save(model, tmp_path / "other.onnx")))
    assert code == 1
    assert refused(handover).startswith("spec.quantization.provided.uri: found scores")


def test_a_provided_artifact_of_several_files_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "provided"
    folder.mkdir()
    onnx.save(onnx.load(source), folder / "int8.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    code, handover, _ = run(calibration="", strategy="provided", provided=str(folder))
    assert code == 1
    assert refused(handover).startswith("spec.quantization.provided.uri: found weights in weights")


def test_a_size_counts_the_weights_beside_the_model(run: Run, source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    onnx.save(onnx.load(source), folder / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    report = run(model=str(folder), max_evaluations=1)[2]
    whole = sum(each.stat().st_size for each in folder.iterdir())
    artifact = tmp_path / "out" / report["artifact"]["file"]
    assert report["artifact"]["sizeRatio"] == report["benefit"]["sizeRatio"] == artifact.stat().st_size / whole


def test_labels_that_cannot_tune_blame_the_calibration_data(run: Run, tmp_path: Path) -> None:
    shards = save_shards(tmp_path / "c", {"image": images(60, seed=11), "label": np.full(60, 99)})
    code, handover, _ = run(calibration=str(shards))
    assert code == 1
    assert refused(handover).startswith("spec.quantization.calibration.data.uri: found shard")


def test_tuning_samples_that_do_not_define_the_metric_are_refused(run: Run, source: Path, tmp_path: Path) -> None:
    batch = images(60, seed=11)
    exact = save_shards(tmp_path / "c", {"image": batch, "label": scores(source, batch)})
    sealed = save_shards(tmp_path / "s", {"image": images(60, seed=12), "label": np.ones((60, 4), np.float32)})
    code, handover, _ = run(calibration=str(exact), validation=str(sealed), metric="mae")
    assert code == 1
    assert "20 tuning samples that do not define mae" in refused(handover)


def scores(source: Path, batch: Floats) -> Floats:
    """The float model's, one sample at a time as the quantizer asks for them."""
    model = open_model(source, "spec.model.uri")
    return np.concatenate([model.run({"image": each[None]})[0] for each in batch])


def test_other_labels_are_judged_anew(run: Run, source: Path, tmp_path: Path) -> None:
    batch, cache = images(60, seed=11), tmp_path / "cache"
    right = answers(onnx.load(source), batch)
    for count, label in enumerate((right, right, (right + 1) % 4)):
        shards = save_shards(tmp_path / f"c{count}", {"image": batch, "label": label})
        run(calibration=str(shards), cache=str(cache), max_evaluations=1)
    assert len(list(cache.glob("*.ranges"))) == 1
    assert len(list(cache.glob("search-*"))) == 2


def test_keeping_all_of_one_approach_in_float_leaves_the_others(run: Run) -> None:
    report = run(strategy="auto", keep_float=("head",), max_evaluations=3)[2]
    assert all("dynamic" not in each["recipe"] for each in report["search"]["trials"])
    assert report["graph"]["quantizedNodes"]


def test_an_opening_is_handed_over_with_a_later_refusal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RefusedError("spec.runtime.resources.memory", "too little", "more")

    monkeypatch.setattr(judging, "measure", fails)
    code, handover, report = run(max_evaluations=1)
    assert (code, report) == (1, {})
    assert "too little" in refused(handover)
    assert handover is not None
    assert handover.opening is not None
    assert handover.opening.number == 1


def test_a_run_that_is_cut_off_while_it_writes_leaves_no_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(max_evaluations=1)[2]
    replace_file = Path.replace

    def fails(path: Path, to: Path) -> Path:
        if path.name == "report.html":
            raise KeyboardInterrupt
        return replace_file(path, to)

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(KeyboardInterrupt):
        run(max_evaluations=1, keep_float=("stem",))
    monkeypatch.undo()
    assert run(model="nothing.onnx")[2] == {}


def test_sealed_samples_neither_calibrate_nor_tune(run: Run, tmp_path: Path) -> None:
    both = images(600, seed=12)[:40]
    mixed = save_shards(tmp_path / "mixed", {"image": np.concatenate([both, images(30, seed=13)])})
    report = run(calibration=str(mixed))[2]
    assert report["samplesInBoth"] == 40
    assert report["calibration"]["used"] + report["search"]["tuning"]["used"] == 30


def test_calibration_data_that_are_all_sealed_are_refused(run: Run, sealed: Path) -> None:
    code, handover, _ = run(calibration=str(sealed))
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert "0 of 600 samples left" in handover.refusal.found


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": "nothing.onnx"}, "spec.model.uri"),
        ({"model_sha256": "0" * 64}, "spec.model.sha256"),
        ({"calibration_sha256": "0" * 64}, "spec.quantization.calibration.data.sha256"),
        ({"validation_sha256": "0" * 64}, "spec.validation.data.sha256"),
        ({"validation": "nothing"}, "spec.validation.data.uri"),
        ({"calibration": ""}, "spec.quantization.calibration.data"),
        ({"strategy": "auto", "provided": "nothing.onnx"}, "spec.quantization.provided.uri"),
        ({"keep_float": ("no-such-node",)}, "spec.quantization.keepFloat"),
        ({"keep_float": ("*",)}, "spec.quantization.keepFloat"),
        ({"activations": "int4"}, "spec.quantization.activations"),
        ({"method": "median"}, "spec.quantization.calibration.method"),
        ({"strategy": "dynamic", "activations": "uint16", "model": "nothing.onnx"}, "spec.quantization.activations"),
        ({"out": "/dev/null"}, "--out"),
        ({"metric": "acuracy"}, "spec.validation.metric"),
        ({"strategy": "magic"}, "spec.quantization.strategy"),
        ({"strategy": "provided"}, "spec.quantization.strategy"),
        ({"strategy": "static", "provided": "nothing.onnx"}, "spec.quantization.strategy"),
        ({"search_seconds": -1.0}, "--search-seconds"),
        ({"seal_opening": ("{}",)}, "--seal-opening"),
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


@pytest.mark.parametrize(("label", "found"), [(None, "without `label`"), (np.array([0, 99]), "sample 1: label [99]")])
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


def test_the_seal_counts_its_openings_and_the_same_again_is_free(run: Run, tmp_path: Path) -> None:
    kept: dict[str, Any] = {"keep_float": ("stem",)}
    numbers = [run(max_evaluations=1, **changes)[2]["signoff"]["opening"] for changes in ({}, {}, kept, {})]
    assert numbers == [1, 1, 2, 1]
    ledger = json.loads((tmp_path / "out" / "seal.json").read_text())
    assert [each["number"] for each in ledger] == [2, 1]


def test_openings_handed_in_count_too(run: Run, sealed: Path) -> None:
    digest = run(max_evaluations=1)[2]["validation"]["sha256"]
    earlier = Opening(data=digest, number=1, artifacts=("a" * 64,)).model_dump_json()
    _, handover, report = run(seal_opening=(earlier,), keep_float=("body",), max_evaluations=1)
    assert report["signoff"]["opening"] == 3
    assert handover is not None
    assert handover.opening is not None
    assert handover.opening.number == 3
    assert all(each["data"] == handover.opening.data for each in report["openings"]), "of one content"


def test_the_same_samples_packed_again_are_no_fresh_seal(run: Run, sealed: Path, tmp_path: Path) -> None:
    first = run(max_evaluations=1)[2]
    shards = [dict(np.load(path)) for path in sorted(sealed.glob("*.npz"))]
    turned = {name: np.concatenate([each[name] for each in shards])[::-1] for name in shards[0]}
    halves = [{name: array[part] for name, array in turned.items()} for part in (slice(0, 250), slice(250, None))]
    report = run(validation=str(save_shards(tmp_path / "again", *halves)), keep_float=("stem",), max_evaluations=1)[2]
    assert report["validation"]["sha256"] != first["validation"]["sha256"]
    assert report["signoff"]["samples"] == first["signoff"]["samples"]
    assert report["signoff"]["opening"] == 2


def test_an_opening_is_announced_before_the_first_look(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "certify_front", killed)
    with pytest.raises(KeyboardInterrupt):
        run(max_evaluations=1)
    left = Handover.model_validate_json((tmp_path / "log").read_text())
    assert (left.artifact, left.refusal) == (None, None)
    assert left.opening is not None
    assert left.opening.number == 1


def test_a_signed_artifact_verifies_until_a_byte_changes(run: Run, key: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = key
    run(sign_key=str(private), max_evaluations=1)
    model = tmp_path / "out" / "model-int8.onnx"
    verify(model, public)
    report = tmp_path / "out" / "report.json"
    report.write_text(report.read_text().replace('"verdict"', '"Verdict"'))
    with pytest.raises(BadSignatureError):
        verify(model, public)


def test_a_key_that_cannot_sign_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    code, handover, _ = run(sign_key=str(tmp_path / "nothing.pem"), model="nothing.onnx")
    assert code == 1
    assert handover is not None
    assert handover.refusal is not None
    assert handover.refusal.field == "--sign-key"


def test_a_job_never_imports_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()")
    for changes in ({"metric": f"{tmp_path}/trap.py:f"}, {"validation": f"{tmp_path}/trap.py:f"}):
        assert run(**changes)[0] == 1
    assert not (tmp_path / "sprung").exists()


def started(arguments: QuantizeArguments, out: Path, until: str) -> subprocess.Popen[bytes]:
    """A run in a process of its own that has come so far as to leave a file."""
    words = replace(arguments, out=str(out), termination_log="", max_evaluations=1).render()
    job = subprocess.Popen([sys.executable, "-m", "quanary", "quantize", *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not [*out.glob(until), *out.glob(f".cache/{until}")] and time.monotonic() < deadline:
        time.sleep(0.01)
    return job


@pytest.mark.parametrize("after", [".work-*", "*.ranges", "seal.json"])
def test_sigterm_ends_a_run_and_leaves_nothing_half_made(
    arguments: QuantizeArguments, tmp_path: Path, after: str
) -> None:
    out = tmp_path / "ended"
    job = started(arguments, out, after)
    job.terminate()
    assert job.wait(60) == 143
    assert not list(out.glob(".work-*"))
    assert not (out / "report.json").exists()


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(
    arguments: QuantizeArguments, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "shared"
    job = started(arguments, out, ".work-*")
    (alive,) = out.glob(".work-*")
    assert run(out=str(out), model="nothing.onnx")[0] == 1
    assert alive.is_dir(), "its run lives"
    job.kill()
    job.wait()
    assert alive.is_dir()
    assert run(out=str(out), model="nothing.onnx")[0] == 1
    assert not alive.exists()


def test_the_last_step_is_the_last_of_all(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(max_drop=0.001, metric="agreement")[2]["verdict"] in {"NotCertifiable", "OverBudget"}
    steps = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
    assert steps[-1].startswith("[7/7]")


@pytest.mark.parametrize("after", ["*.ranges", "search-*", "seal.json"])
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    arguments: QuantizeArguments, run: Run, tmp_path: Path, after: str
) -> None:
    # One recipe: which of several wins is a matter of measured speed, that no two runs share.
    whole = run(out=str(tmp_path / "whole"), max_evaluations=1)[2]
    out = tmp_path / "killed"
    job = started(arguments, out, after)
    job.kill()
    job.wait()
    assert not (out / "report.json").exists()
    _, _, report = run(out=str(out), max_evaluations=1)
    assert report["artifact"]["sha256"] == whole["artifact"]["sha256"]
    assert report["signoff"] == whole["signoff"]
    assert report["calibration"]["fromCache"]
    assert not list(out.glob("model-int8.onnx.*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--explain"], 0, "1 normalise"),
        (["--explain", "verdicts"], 0, "NotCertifiable"),
        (["--explain=metrics"], 0, "roc_auc"),
        (["--explain", "nonsense"], 1, "'nonsense'; allowed: one of steps, data"),
    ],
)
def test_a_run_explains_itself_by_topic(
    capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(words) == code
    shown = capsys.readouterr()
    assert said in (shown.err if code else shown.out)
