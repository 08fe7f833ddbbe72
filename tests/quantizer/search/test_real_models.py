"""The claims on real models and real data: a speech detector and a file-type classifier."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest

from e2e.demo import build
from quanary.quantizer.calibrate import calibrate
from quanary.quantizer.certify.metrics import open_metric
from quanary.quantizer.data import DataSet, Sample, digest_of_data, open_data
from quanary.quantizer.graph import normalize
from quanary.quantizer.inference import open_model
from quanary.quantizer.making import tensors_for
from quanary.quantizer.recipe import Activations, Approach, Scope
from quanary.quantizer.search import Found, Subject, Trial, search
from tests.quantizer.search.scene import arguments

AUTO = {"activations": "auto", "method": "auto", "objective": "latency"}


@dataclass(frozen=True)
class First:
    """A share of a set, evenly spread, as tuning samples."""

    data: DataSet
    count: int

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        return self.data.read(min(self.count, limit or self.count))


def subject_of(name: str, folder: Path, tuning: int) -> Subject:
    files = build.build()
    model = open_model(files[f"{name}:model"].path, "f")
    sets = {}
    for part in ("calibration", "validation"):
        with tarfile.open(files[f"{name}:{part}"].path) as archive:
            archive.extractall(folder / part, filter="data")
        sets[part] = open_data(folder / part, digest_of_data(folder / part), "f", model.inputs)
    samples = list(sets["calibration"].read(8))
    normalized = normalize(model, folder, samples).path
    graph = onnx.load(normalized)
    tensors = tensors_for(graph, Scope.ALL)
    calibration = calibrate(graph, tensors, sets["calibration"], 100, folder, cache=folder, model_sha256=name)

    def wide() -> Path:
        (folder / "wide").mkdir(exist_ok=True)
        return normalize(model, folder / "wide", samples, 21).path

    return Subject(model, normalized, wide, calibration.bounds, First(sets["validation"], tuning), calibration.key)


def found_for(subject: Subject, cache: Path, **choices: Any) -> Found:
    return search(subject, arguments(**(AUTO | choices)), open_metric("agreement"), cache, cache=cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject_of("silero-vad", tmp_path_factory.mktemp("speech"), 200)


def by_size(found: Found) -> Trial:
    return min(found.front, key=lambda each: each.size_ratio)


def test_speech_all_convolutions_are_within_a_fair_budget(speech: Subject, cache: Path) -> None:
    found = found_for(speech, cache, max_drop=0.04)
    best = by_size(found)
    assert (best.recipe.approach, best.recipe.scope, best.recipe.kept_float) == (Approach.STATIC, Scope.CORE, ())
    assert best.size_ratio < 0.59
    assert best.in_budget
    assert found.front[0].divergence < best.divergence  # a safer one, too
    assert found.gap
    assert not found.gap.saturates


def test_speech_a_tight_budget_leaves_the_worst_convolutions_in_float(speech: Subject, cache: Path) -> None:
    found = found_for(speech, cache, max_drop=0.01)
    assert found.layers[0].node == "/stft/Conv"
    assert found.layers[0].divergence > 10 * found.layers[-1].divergence
    mixed = [each for each in found.trials if each.recipe.kept_float and each.in_budget]
    assert mixed
    assert min(len(each.recipe.kept_float) for each in mixed) <= 3
    assert all(each.drop <= 0.01 for each in found.front)


def test_speech_sixteen_bits_are_accurate_and_dynamic_is_for_the_lstm(speech: Subject, cache: Path) -> None:
    found = found_for(speech, cache, max_drop=0.01)
    wide = [each for each in found.trials if each.recipe.activations == Activations.UINT16]
    dynamic = [each for each in found.trials if each.recipe.approach == Approach.DYNAMIC]
    core = found.trials[0]
    assert all(each.divergence < core.divergence for each in (*wide, *dynamic))
    assert dynamic[0].size_ratio < 0.70


def test_files_the_core_is_in_budget_at_once_and_all_operators_ruin_the_model(tmp_path: Path, cache: Path) -> None:
    found = found_for(subject_of("magika", tmp_path, 40), cache, max_drop=0.06)
    core, others = found.trials[0], found.trials[1:]
    assert core.in_budget
    assert core.size_ratio < 0.27
    everything = next(each for each in others if each.recipe.scope == Scope.ALL)
    assert everything.failure or everything.drop > 0.5
    # Three candidates, three layers, a safer one, the emulation.
    assert found.evaluations <= 8
    assert core.sha256 in {each.sha256 for each in found.front}
    assert everything.sha256 not in {each.sha256 for each in found.front}
