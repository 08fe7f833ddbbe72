"""What candidates are judged against: the float model's answers on tuning samples, by a metric that fits these."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from quanary.quantizer.certify.metrics import Metric, open_metric
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, Model, answers_of
from quanary.quantizer.search.subject import Tuning
from quanary.wire.report import RefusedError

SAMPLES: Final = 200
FEW_SAMPLES: Final = 32
# What samples and the float model's outputs may take in memory; larger ones are judged on fewer samples.
KEPT_BYTES: Final = 256 << 20
FIELD: Final = "spec.quantization.calibration.data.uri"
# Samples that say how large the others are.
_WEIGHED: Final = 8

AGREEMENT: Final = "agreement"
# Metrics of outputs that hold no classes to agree on.
_OF_NUMBERS: Final = ("mae", "rmse", "cosine")


def usable(metric: Metric, samples: Sequence[Sample]) -> Metric:
    """Without labels to tune on, a metric of classes gives way to agreement, that never drops less than accuracy."""
    if not metric.needs_label or all(each.label is not None for each in samples):
        return metric
    if metric.name in _OF_NUMBERS:
        raise RefusedError(FIELD, f"no label, that {metric.name} needs", "an array `label` in the calibration data")
    return open_metric(AGREEMENT)


def require_defined(metric: Metric, samples: Sequence[Sample], outputs: Sequence[list[Array]]) -> None:
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


def ask_float(model: Model, tuning: Tuning, workers: int) -> tuple[tuple[Sample, ...], tuple[list[Array], ...]]:
    """Tuning samples, as many as memory holds, and the float model's outputs on them.

    Raises:
        RefusedError: there are none, or it rejects one.
    """
    held = max((_bytes(each, _answer(model, each)) for each in tuning.read(_WEIGHED)), default=1)
    limit = min(SAMPLES, max(FEW_SAMPLES, KEPT_BYTES // held))
    samples = tuple(tuning.read(limit))
    if not samples:
        raise RefusedError(FIELD, "no samples left to tune on", "more calibration data than is calibrated on")
    with ThreadPoolExecutor(workers) as pool:
        return samples, tuple(pool.map(lambda sample: _answer(model, sample), samples))


def _answer(model: Model, sample: Sample) -> list[Array]:
    return answers_of(model, sample.feed, sample.where, FIELD)


def _bytes(sample: Sample, outputs: list[Array]) -> int:
    return max(1, sum(array.nbytes for array in (*sample.feed.values(), *outputs)))
