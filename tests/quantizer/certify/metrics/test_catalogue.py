from pathlib import Path

import numpy as np
import pytest

from quanary.quantizer.certify.metrics import CATALOGUE, METRICS, open_metric
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, sample, scores

NAMES = ["agreement", "accuracy", "f1", "f1_binary", "roc_auc", "mae", "rmse", "cosine", "recall@5", "wer", "cer"]


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_found_by_its_name_and_explained(name: str) -> None:
    metric = open_metric(name)
    assert metric.name == name
    assert metric.needs_label == (name not in {"agreement", "cosine"})
    assert metric.kind == ("proportion" if name in {"agreement", "accuracy", "recall@5"} else "bootstrap")
    sentence = dict(CATALOGUE)[name.replace("@5", "@K")]
    assert "maxDrop" in sentence
    assert ("`label`" in sentence) == metric.needs_label
    assert name.replace("@5", "@K") in METRICS


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("acuracy", "did you mean accuracy?"),
        ("AUC", "did you mean roc_auc?"),
        ("zzz", "one of agreement, accuracy"),
        ("", "one of agreement, accuracy"),
        ("recall@0", "recall@K with a whole number"),
        ("recall@five", "recall@K with a whole number"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_close(name: str, allowed: str) -> None:
    with pytest.raises(RefusedError) as error:
        open_metric(name)
    assert error.value.refusal.field == "spec.validation.metric"
    assert allowed in error.value.refusal.allowed


def script(tmp_path: Path, body: str) -> str:
    (tmp_path / "mine.py").write_text(body)
    return f"{tmp_path}/mine.py:score"


def test_code_runs_only_where_it_is_allowed(tmp_path: Path) -> None:
    name = script(tmp_path, f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nscore = max\n")
    with pytest.raises(RefusedError, match="from the command line only"):
        open_metric(name)
    assert not (tmp_path / "ran").exists()
    open_metric(name, allow_code=True)
    assert (tmp_path / "ran").exists()


def test_a_function_of_ones_own_is_asked_for_each_model(tmp_path: Path) -> None:
    body = "def score(outputs, label):\n    return float(outputs[0][0, 0]) - label\nscore.needs_label = True\n"
    metric = open_metric(script(tmp_path, body), allow_code=True)
    assert metric.needs_label
    found = estimate(metric, (scores([3.0]), scores([2.0]), 1), (scores([5.0]), scores([5.0]), 1))
    assert (found.float_value, found.int8_value, found.drop) == (3, 2.5, 0.5)


def test_a_function_of_an_installed_module_will_do() -> None:
    metric = open_metric("numpy:size", allow_code=True)
    assert not metric.needs_label
    with pytest.raises(RefusedError, match="numpy:size raises"):
        metric.observe([np.zeros(3)], [np.zeros(2)], sample("no axis"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("score = 3\n", "a function 'score'"),
        ("", "a function 'score'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
    ],
)
def test_what_cannot_be_called_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        open_metric(script(tmp_path, body), allow_code=True)


@pytest.mark.parametrize("name", ["no_such_module_here:score", "/nowhere/mine.py:score", ":score"])
def test_code_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="cannot be imported"):
        open_metric(name, allow_code=True)


@pytest.mark.parametrize("answer", ["None", "'x'", "float('nan')", "1 / 0"])
def test_a_function_that_answers_with_no_number_names_the_sample(tmp_path: Path, answer: str) -> None:
    metric = open_metric(script(tmp_path, f"def score(outputs, label):\n    return {answer}\n"), allow_code=True)
    with pytest.raises(RefusedError, match="sample 4: "):
        metric.observe(scores([1.0]), scores([1.0]), sample(index=4))
