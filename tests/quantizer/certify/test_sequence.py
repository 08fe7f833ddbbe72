"""Real models: an artifact is the float model with its weights rounded to a coarser and coarser grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from quanary.quantizer.certify import certify_front, is_certified, open_metric
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, Model, open_model
from quanary.wire.report import RefusedError
from tests.quantizer.models import SIDE, answers, classifier, images, save

SAMPLES = 400


@dataclass
class Sealed:
    """Counts how often it is read through."""

    items: list[Sample]
    passes: int = 0

    def __iter__(self) -> Iterator[Sample]:
        self.passes += 1
        yield from self.items


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    batch = images(SAMPLES, seed=5)
    labels = answers(classifier(), batch)
    rows = zip(batch, labels, strict=True)
    return Sealed(
        [Sample("a.npz", i, {"image": each[None]}, np.array([label])) for i, (each, label) in enumerate(rows)]
    )


def rounded(tmp_path: Path, step: float) -> Model:
    model = classifier()
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        coarse = (np.round(array / step) * step if step else array).astype(np.float32)
        initializer.CopyFrom(numpy_helper.from_array(coarse, initializer.name))
    return open_model(save(model, tmp_path / f"step-{step}.onnx"), "spec.model.uri")


def test_a_front_is_certified_up_to_its_first_failure(tmp_path: Path, sealed: Sealed) -> None:
    front = [rounded(tmp_path, step) for step in (0.001, 0.01, 6.0, 0.0)]
    before = sealed.passes
    signoffs = certify_front(
        rounded(tmp_path, 0.0), front, sealed, open_metric("accuracy"), max_drop=0.03, confidence=0.95, opening=1
    )
    assert [is_certified(each) for each in signoffs] == [True, True, False]
    assert signoffs[2].drop > 0.03
    assert sealed.passes == before + 1
    assert {(each.samples, each.float_, each.confidence) for each in signoffs} == {(SAMPLES, 1.0, 0.95)}


def test_each_model_is_asked_once_a_sample(tmp_path: Path, sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    run = Model.run

    def counting(model: Model, feed: dict[str, Array]) -> list[Array]:
        asked.append(model.path.name)
        return run(model, feed)

    monkeypatch.setattr(Model, "run", counting)
    front = [rounded(tmp_path, step) for step in (0.001, 0.01)]
    few = sealed.items[:30]
    certify_front(
        rounded(tmp_path, 0.0), front, few, open_metric("agreement"), max_drop=0.5, confidence=0.95, opening=1
    )
    assert {name: asked.count(name) for name in set(asked)} == {
        "step-0.0.onnx": 30,
        "step-0.001.onnx": 30,
        "step-0.01.onnx": 30,
    }


def test_an_opening_that_is_not_the_first_can_fail_where_the_first_passed(tmp_path: Path, sealed: Sealed) -> None:
    model = rounded(tmp_path, 0.0)
    passed = [
        is_certified(
            certify_front(
                model, [model], sealed, open_metric("agreement"), max_drop=0.01, confidence=0.95, opening=opening
            )[0]
        )
        for opening in (1, 2, 10)
    ]
    # Nothing lost in 400: 0.0075 at 5 %, 0.0119 at 5 % / 6.
    assert passed == [True, False, False]


@pytest.mark.parametrize("name", ["agreement", "accuracy", "recall@2", "f1", "cosine"])
def test_a_model_certifies_itself_by_every_metric_that_fits(tmp_path: Path, sealed: Sealed, name: str) -> None:
    model = rounded(tmp_path, 0.0)
    signoffs = certify_front(model, [model], sealed, open_metric(name), max_drop=0.02, confidence=0.95, opening=1)
    assert signoffs[0].drop == pytest.approx(0, abs=1e-6)
    assert signoffs[0].disagreement == 0
    assert is_certified(signoffs[0])


def test_a_sample_that_a_model_rejects_is_named_with_the_model(tmp_path: Path) -> None:
    model = rounded(tmp_path, 0.0)
    wrong = Sample("a.npz", 3, {"image": np.zeros((1, 5, SIDE, SIDE), np.float32)}, None)
    with pytest.raises(RefusedError, match=r"shard a.npz, sample 3: step-0.0.onnx rejects it"):
        certify_front(model, [], [wrong], open_metric("agreement"), max_drop=0.1, confidence=0.95, opening=1)
