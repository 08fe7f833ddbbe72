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

from quanary.quantizer.certify.metrics import Metric, Row
from quanary.quantizer.data import Sample
from quanary.quantizer.graph import size_of
from quanary.quantizer.inference import Array, Model, RuntimeErrors, open_model
from quanary.quantizer.search.divergence import Divergence, divergence_for
from quanary.quantizer.search.reference import FEW_SAMPLES, ask_float, require_defined, usable
from quanary.quantizer.search.subject import Tuning
from quanary.quantizer.search.trial import ROUNDING
from quanary.wire.report import RefusedError

# Of the few: a divergence ranks layers with fewer than a drop needs.
_RANKING_SAMPLES: Final = 8
# Whether sums that cannot overflow do not is soon seen.
_EMULATED_SAMPLES: Final = 16
# For a metric whose samples weigh unequally, this many budgets.
_HOPELESS_FACTOR: Final = 10
# A quick look at speed: pairs of runs, after some that warm up.
_PAIRS, _FEWEST_PAIRS, _WARM_UPS, _LOOK_SECONDS = 30, 7, 2, 0.25
# Once so much is lost on the first few samples, the rest cannot save it.
_HOPELESS_DROP: Final = 0.3


class FailedError(Exception):
    """The candidate cannot be run, or answers with what is no number."""


@dataclass(frozen=True)
class Scores:
    """Of one candidate."""

    drop: float
    divergence: float
    size_ratio: float
    speedup: float
    rows: tuple[Row, ...]  # the few first, then the others unless it was given up


@dataclass(frozen=True)
class Judge:
    """The float model's answers on the tuning samples, computed once."""

    model: Model
    metric: Metric
    samples: tuple[Sample, ...]
    outputs: tuple[list[Array], ...]
    divergence: Divergence
    workers: int
    max_drop: float

    @classmethod
    def open(cls, model: Model, metric: Metric, tuning: Tuning, workers: int, max_drop: float) -> "Judge":
        """Ask the float model. An inference has one thread, and as many as `workers` run side by side.

        Raises:
            RefusedError: it rejects a sample, or the metric does not fit the samples.
        """
        judged = open_model(model.path, "spec.model.uri", threads=1)
        samples, outputs = ask_float(judged, tuning, workers)
        metric = usable(metric, samples)
        require_defined(metric, samples, outputs)
        first = [each[0] for each in outputs]
        divergence = divergence_for(first, answers=metric.kind == "proportion")
        return cls(judged, metric, samples, outputs, divergence, workers, max_drop)

    def score(self, path: Path) -> Scores:
        """Everything at once.

        Raises:
            FailedError: the candidate fails.
        """
        candidate = _open(path)
        rows: list[Row] = []
        divergences: list[float] = []
        for part in (self._few, *_chunks(self._others)):
            for sample, outputs, answer in self._ask(candidate, part):
                rows.append(self._observe(outputs, answer, sample))
                divergences.append(self._diverges(outputs, answer, sample))
            if self._is_hopeless(rows):
                break
        drop = self.metric.estimate(rows).drop
        size_ratio, speedup = size_of(path) / self._float_bytes, self._speedup(candidate)
        return Scores(drop, float(np.mean(divergences)), size_ratio, speedup, tuple(rows))

    def diverges(self, path: Path) -> float:
        """Mean divergence on a few samples.

        Raises:
            FailedError: the candidate fails.
        """
        asked = self._ask(_open(path), self._few[:_RANKING_SAMPLES])
        return float(np.mean([self._diverges(outputs, answer, sample) for sample, outputs, answer in asked]))

    def rows(self, path: Path, *, optimize: bool, few: bool) -> list[Row]:
        """The metric's rows in the order of `Scores.rows`, with the runtime's optimisations, or emulated in float.

        `few`: of so many samples as show that nothing overflows.
        """
        part = self._few[:_EMULATED_SAMPLES] if few else [*self._few, *self._others]
        asked = self._ask(_open(path, optimize=optimize), part)
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
        """Whether the samples to come cannot bring the drop back to the budget, or are most unlikely to."""
        drop = self.metric.estimate(rows).drop
        if self.metric.kind != "proportion":
            return drop > max(_HOPELESS_DROP, _HOPELESS_FACTOR * self.max_drop)
        # Nothing more is lost, and all that float gets wrong is gained.
        gains = self._float_errors - sum(1 - right for right, _ in rows)
        return drop > _HOPELESS_DROP or drop * len(rows) - gains > self.max_drop * len(self.samples) + ROUNDING

    @cached_property
    def _float_errors(self) -> float:
        """Samples that float gets wrong."""
        rows = (
            self.metric.observe(each, each, sample) for each, sample in zip(self.outputs, self.samples, strict=True)
        )
        return sum(1 - right for right, _ in rows)

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
            if len(ratios) >= _FEWEST_PAIRS and time.perf_counter() > end:
                break
        return median(ratios)


def _chunks(part: Sequence[int]) -> list[Sequence[int]]:
    return [part[start : start + FEW_SAMPLES] for start in range(0, len(part), FEW_SAMPLES)]


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
