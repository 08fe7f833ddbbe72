"""The one-sided bound that a metric's rows allow, and how it was computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quanary.quantizer.certify.exact import (
    PAIRED_SOURCE,
    PROPORTION_SOURCE,
    drop_upper,
    proportion_lower,
    proportion_upper,
)
from quanary.quantizer.certify.metrics.fits import DifferenceOfMeans
from quanary.quantizer.certify.metrics.metric import Metric, Resampled, Row
from quanary.quantizer.certify.resample import SEED, SOURCE, Units, resamples_for, t_lower, upper_bound

# Fewer independent units than this, and the report says so.
FEW: Final = 30
# Simulated at the budget, where 5 % may pass: 10 % do with 200 samples of heavy tails (MAE) or rare classes (F1),
# and up to 6.5 % (RMSE) with 1,000.
_ROUGH: Final = 500


@dataclass(frozen=True)
class Bound:
    """Upper bound of a drop at one confidence; `plain` is the one that samples without groups would give."""

    upper: float
    plain: float
    interval: str


@dataclass(frozen=True)
class Disagreement:
    """Share of samples on which both models answer differently, bounded on each side at the full error."""

    share: float
    lower: float
    upper: float


def drop_bound(metric: Metric, rows: Sequence[Row], groups: list[bytes | None], confidence: float) -> Bound:
    """Of the drop: exact for proportions, resampled for others; over groups where samples have any."""
    units = Units.of(groups)
    if isinstance(metric, Resampled):
        upper = upper_bound(metric.fit(rows), units, confidence, metric.event_weight)
        return Bound(upper, upper, _source(units, confidence))
    table = np.asarray(rows, np.float64)
    lost, gained = paired_counts(rows)
    exact = proportion_upper(lost, len(rows), confidence)
    source = PROPORTION_SOURCE
    # Where float is always right nothing can be gained: then it is one proportion.
    if not table[:, 0].all():
        exact, source = drop_upper(lost, gained, len(rows), confidence), PAIRED_SOURCE
    if units.count == len(rows):
        return Bound(exact, exact, source)
    fit = DifferenceOfMeans(np.column_stack([table, np.ones(len(table))]), sign=1)
    upper = max(exact, upper_bound(fit, units, confidence, 1.0))
    return Bound(upper, exact, f"the larger of {source} over samples and {_source(units, confidence)}")


def paired_counts(rows: Sequence[Row]) -> tuple[int, int]:
    """Samples lost and gained, of rows of a proportion."""
    loss = np.asarray(rows, np.float64) @ np.array([1.0, -1.0])
    return int((loss > 0).sum()), int((loss < 0).sum())


def disagreement_of(differs: Sequence[bool], groups: list[bytes | None], confidence: float) -> Disagreement:
    """Exact bounds (Clopper and Pearson, 1934); with groups, no tighter than resampling over groups allows."""
    units, count, n = Units.of(groups), int(sum(differs)), len(differs)
    lower, upper = proportion_lower(count, n, confidence), proportion_upper(count, n, confidence)
    if units.count < n:
        table = np.column_stack([np.ones(n), 1 - np.asarray(differs, float), np.ones(n)])
        fit = DifferenceOfMeans(table, sign=1)
        upper = min(1.0, max(upper, upper_bound(fit, units, confidence, 1.0)))
        by_unit = units.sum(fit.influence) / n
        lower = max(0.0, min(lower, t_lower(count / n, by_unit, confidence))) if units.count > 1 else 0.0
    return Disagreement(count / n, lower, upper)


def _source(units: Units, confidence: float) -> str:
    text = SOURCE.format(resamples=resamples_for(confidence), seed=SEED)
    kind = "groups" if units.count < len(units.of_sample) else "samples"
    few = f"; {units.count} {kind} are few, and the bound is rough" if units.count < FEW else ""
    rough = f"; below {_ROUGH} it errs up to twice as often as allowed" if units.count < _ROUGH else ""
    return f"{text}, over {units.count} {kind}{few}{rough}"
