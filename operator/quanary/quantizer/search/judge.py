"""Judge a candidate on tuning samples, on the real INT8 kernels of this CPU."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from quanary.quantizer.certify.metrics import Metric, Row, open_metric
from quanary.quantizer.data import Sample
from quanary.quantizer.graph import size_of
from quanary.quantizer.inference import Array, Model, RuntimeErrors, open_model
from quanary.quantizer.search.divergence import Divergence, divergence_for
from quanary.quantizer.search.subject import Tuning
from quanary.wire.report import RefusedError

SAMPLES: Final = 200
FEW_SAMPLES: Final = 32
# What samples and the float model's outputs may take in memory; larger ones are judged on fewer samples.
KEPT_BYTES: Final = 256 << 20
FIELD: Final = "spec.quantization.calibration.data.uri"
# Samples that say how large the others are.
_WEIGHED: Final = 8
# A quick look at speed: pairs of runs, after some that warm up.
_PAIRS, _WARM_UPS, _LOOK_SECONDS = 30, 2, 0.6
# Once so much is lost on the first few samples, the rest cannot save it.
_HOPELESS_DROP: Final = 0.3

AGREEMENT: Final = "agreement"
# Metrics of outputs that hold no classes to agree on.
_OF_NUMBERS: Final = ("mae", "rmse", "cosine")


class FailedError(Exception):
    """The candidate cannot be run, or answers with what is no number."""


@dataclass(frozen=True)
class Scores:
    """Of one candidate."""

    drop: float
    divergence: float
    size_ratio: float
    speedup: float


@dataclass(frozen=True)
class Judge:
    """The float model's answers on the tuning samples, computed once."""

    model: Model
    metric: Metric
    samples: tuple[Sample, ...]
    outputs: tuple[list[Array], ...]
    divergence: Divergence
    workers: int

    @classmethod
    def open(cls, model: Model, metric: Metric, tuning: Tuning, workers: int) -> "Judge":
        """Ask the float model. An inference has one thread, and as many as `workers` run side by side.

        Raises:
            RefusedError: it rejects a sample, or the metric does not fit the samples.
        """
        judged = open_model(model.path, "spec.model.uri", threads=1)
        samples, outputs = _ask(judged, tuning, workers)
        metric = _usable(metric, samples)
        _require_defined(metric, samples, outputs)
        first = [each[0] for each in outputs]
        divergence = divergence_for(first, answers=metric.kind == "proportion")
        return cls(judged, metric, samples, outputs, divergence, workers)

    def score(self, path: Path) -> Scores:
        """Everything at once.

        Raises:
            FailedError: the candidate fails.
        """
        candidate = _open(path)
        rows: list[Row] = []
        divergences: list[float] = []
        for part in (self._few, self._others):
            for sample, outputs, answer in self._ask(candidate, part):
                rows.append(self._observe(outputs, answer, sample))
                divergences.append(self._diverges(outputs, answer, sample))
            if self._is_hopeless(rows):
                break
        drop = self.metric.estimate(rows).drop
        return Scores(drop, float(np.mean(divergences)), size_of(path) / self._float_bytes, self._speedup(candidate))

    def diverges(self, path: Path) -> float:
        """Mean divergence on a few samples.

        Raises:
            FailedError: the candidate fails.
        """
        asked = self._ask(_open(path), self._few)
        return float(np.mean([self._diverges(outputs, answer, sample) for sample, outputs, answer in asked]))

    def rows(self, path: Path, *, optimize: bool, few: bool) -> list[Row]:
        """The metric's rows of all samples or a few, with the runtime's optimisations, or emulated in float."""
        asked = self._ask(_open(path, optimize=optimize), self._few if few else range(len(self.samples)))
        return [self._observe(outputs, answer, sample) for sample, outputs, answer in asked]

    @cached_property
    def _float_bytes(self) -> int:
        return size_of(self.model.path)

    @property
    def _few(self) -> range:
        """Of all samples, evenly spread."""
        step = max(1, len(self.samples) // FEW_SAMPLES)
        return range(0, min(len(self.samples), step * FEW_SAMPLES), step)

    @property
    def _others(self) -> list[int]:
        few = self._few
        return [index for index in range(len(self.samples)) if index not in few]

    def _ask(self, candidate: Model, part: Sequence[int]) -> Iterator[tuple[Sample, list[Array], list[Array]]]:
        """Samples, the float model's outputs, and the candidate's."""
        samples = [self.samples[each] for each in part]
        with ThreadPoolExecutor(self.workers) as pool:
            answers = pool.map(lambda sample: _run(candidate, sample), samples)
            yield from zip(samples, (self.outputs[each] for each in part), answers, strict=True)

    def _observe(self, outputs: list[Array], answer: list[Array], sample: Sample) -> Row:
        # What the metric refuses now is the candidate's answer: float's own passed when this was opened.
        try:
            return self.metric.observe(outputs, answer, sample)
        except RefusedError as error:
            raise FailedError(str(error)) from error

    def _diverges(self, outputs: list[Array], answer: list[Array], sample: Sample) -> float:
        divergence = self.divergence(outputs[0], answer[0])
        if not math.isfinite(divergence):
            message = f"its answer on {sample.where} is not a number"
            raise FailedError(message)
        return divergence

    def _is_hopeless(self, rows: Sequence[Row]) -> bool:
        return self.metric.kind == "proportion" and self.metric.estimate(rows).drop > _HOPELESS_DROP

    def _speedup(self, candidate: Model) -> float:
        """Median ratio of thread CPU times, float over candidate, of runs in turns on the same samples."""
        ratios: list[float] = []
        end = time.perf_counter() + _LOOK_SECONDS
        for turn, sample in enumerate(itertools.islice(itertools.cycle(self.samples), _PAIRS + _WARM_UPS)):
            before = time.thread_time_ns()
            self.model.run(sample.feed)
            between = time.thread_time_ns()
            _run(candidate, sample)
            after = time.thread_time_ns()
            if turn >= _WARM_UPS:
                ratios.append((between - before) / max(after - between, 1))
            if ratios and time.perf_counter() > end:
                break
        return median(ratios)


def _usable(metric: Metric, samples: Sequence[Sample]) -> Metric:
    """Without labels to tune on, a metric of classes gives way to agreement, that never drops less than accuracy."""
    if not metric.needs_label or all(each.label is not None for each in samples):
        return metric
    if metric.name in _OF_NUMBERS:
        raise RefusedError(FIELD, f"no label, that {metric.name} needs", "an array `label` in the calibration data")
    return open_metric(AGREEMENT)


def _require_defined(metric: Metric, samples: Sequence[Sample], outputs: Sequence[list[Array]]) -> None:
    """By float's answers against themselves.

    Raises:
        RefusedError: a sample does not fit the metric, or all of them do not define it.
    """
    try:
        rows = [metric.observe(each, each, sample) for each, sample in zip(outputs, samples, strict=True)]
    except RefusedError as error:
        raise RefusedError(FIELD, error.refusal.found, error.refusal.allowed) from error
    if not math.isfinite(metric.estimate(rows).drop):
        found = f"{len(rows)} tuning samples that do not define {metric.name}"
        raise RefusedError(FIELD, found, "samples of every class, on some of which float errs; or another metric")


def _ask(model: Model, tuning: Tuning, workers: int) -> tuple[tuple[Sample, ...], tuple[list[Array], ...]]:
    held = max((_bytes(each, _answer(model, each)) for each in tuning.read(_WEIGHED)), default=1)
    limit = min(SAMPLES, max(FEW_SAMPLES, KEPT_BYTES // held))
    samples = tuple(tuning.read(limit))
    if not samples:
        raise RefusedError(FIELD, "no samples left to tune on", "more calibration data than is calibrated on")
    with ThreadPoolExecutor(workers) as pool:
        return samples, tuple(pool.map(lambda sample: _answer(model, sample), samples))


def _answer(model: Model, sample: Sample) -> list[Array]:
    try:
        return model.run(sample.feed)
    except RuntimeErrors as error:
        found = f"{sample.where}: the model rejects it: {error}"
        raise RefusedError(FIELD, found, "samples the model can answer") from error


def _bytes(sample: Sample, outputs: list[Array]) -> int:
    return max(1, sum(array.nbytes for array in (*sample.feed.values(), *outputs)))


def _open(path: Path, *, optimize: bool = True) -> Model:
    try:
        return open_model(path, "spec.model.uri", threads=1, optimize=optimize)
    except RefusedError as error:
        raise FailedError(str(error)) from error


def _run(candidate: Model, sample: Sample) -> list[Array]:
    try:
        outputs = candidate.run(sample.feed)
    except RuntimeErrors as error:
        message = f"it rejects {sample.where}: {error}"
        raise FailedError(message) from error
    return outputs
