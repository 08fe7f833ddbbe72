"""Where things lie in the drawings: x in percent of the width, y and radius in pixels. Pure; the template draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from quanary.quantizer.report.scale import Tick, finite, spanning
from quanary.quantizer.report.words import times
from quanary.wire.report import (
    BenefitFigures,
    DriftBaseline,
    GapFigures,
    SealedSignoff,
    TensorFigures,
)

DRIFT_HEIGHT: Final = 88
_NARROWEST: Final = 0.4  # percent, of a bin


@dataclass(frozen=True)
class BudgetChart:
    """The drop with its bound on one line with the budget."""

    zero: float
    budget: float
    drop: float | None
    bound: float | None
    used: float  # of the budget, by the bound


def budget_chart(signoff: SealedSignoff) -> BudgetChart:
    """The axis holds zero, the budget, the drop and its bound."""
    drop, bound = signoff.drop, signoff.drop_upper_bound
    scale = spanning([0.0, signoff.max_drop, drop, bound], margin=0.08)
    return BudgetChart(
        zero=scale.at(0.0),
        budget=scale.at(signoff.max_drop),
        drop=scale.at(drop) if math.isfinite(drop) else None,
        bound=scale.at(bound) if math.isfinite(bound) else None,
        used=bound / signoff.max_drop if signoff.max_drop > 0 else math.nan,
    )


@dataclass(frozen=True)
class SpeedRow:
    """One batch size: the interval of its ratio, and the ratio of each block."""

    batch: int
    low: float
    high: float
    ratio: float
    blocks: tuple[float, ...]


@dataclass(frozen=True)
class SpeedChart:
    """Ratios of time, float over INT8, on one axis with 1 and the limit."""

    rows: tuple[SpeedRow, ...]
    even: float
    limit: float
    ticks: tuple[Tick, ...]


def speed_chart(benefit: BenefitFigures) -> SpeedChart:
    """All batches on one axis."""
    edges = [each for row in benefit.batches for each in (row.interval.low, row.interval.high, *row.block_ratios)]
    scale = spanning([*edges, 1.0, benefit.min_speedup])
    rows = tuple(
        SpeedRow(
            batch=each.batch,
            low=scale.at(each.interval.low),
            high=scale.at(each.interval.high),
            ratio=scale.at(each.ratio),
            blocks=tuple(scale.at(block) for block in finite(each.block_ratios)),
        )
        for each in benefit.batches
    )
    ticks = tuple(Tick(scale.at(each), times(each)) for each in scale.ticks(4))
    return SpeedChart(rows, scale.at(1.0), scale.at(benefit.min_speedup), ticks)


def bars(values: Sequence[float]) -> tuple[float, ...]:
    """Lengths in percent of the longest; what is infinite fills its row, what is no number or negative has none."""
    longest = max([each for each in finite(values) if each > 0], default=1.0)
    return tuple(_length(each, longest) for each in values)


def _length(value: float, longest: float) -> float:
    if math.isnan(value) or value <= 0:
        return 0.0
    return round(100 * min(value / longest, 1.0), 2)


@dataclass(frozen=True)
class RangeBar:
    """A tensor's range."""

    start: float
    width: float


@dataclass(frozen=True)
class RangeChart:
    """Ranges of very different widths on one axis that is logarithmic away from zero."""

    zero: float
    bars: tuple[RangeBar, ...]


def range_chart(tensors: Sequence[TensorFigures]) -> RangeChart:
    """One bar a tensor, in their order."""
    edges = finite(edge for each in tensors for edge in (each.low, each.high))
    sizes = sorted(abs(each) for each in edges if each)
    knee = sizes[len(sizes) // 4] if sizes else 1.0
    scale = spanning([*edges, 0.0], margin=0.02, knee=knee)
    found = []
    for each in tensors:
        start, end = scale.at(each.low), scale.at(each.high)
        found.append(RangeBar(start, round(max(end - start, 0.6), 3)))
    return RangeChart(scale.at(0.0), tuple(found))


@dataclass(frozen=True)
class GapChart:
    """Drops of the same file with and without the CPU's integer kernels, and of the budget."""

    kernels: float
    emulated: float
    budget: float


def gap_chart(gap: GapFigures, max_drop: float) -> GapChart:
    """Lengths from zero."""
    kernels, emulated, budget = bars((gap.drop_on_kernels, gap.drop_emulated, max_drop))
    return GapChart(kernels, emulated, budget)


@dataclass(frozen=True)
class HistogramBar:
    """One bin; `y` and `height` in pixels."""

    x: float
    width: float
    y: float
    height: float


@dataclass(frozen=True)
class DriftChart:
    """What calibration saw of an input: areas follow the counts. Values beyond the edges are not drawn, but counted."""

    bars: tuple[HistogramBar, ...]
    outside: int
    height: int = DRIFT_HEIGHT


def drift_chart(baseline: DriftBaseline) -> DriftChart:
    """On an axis that is logarithmic away from zero: bins may be of very different widths."""
    sizes = sorted(abs(each) for each in finite(baseline.edges) if each)
    scale = spanning(baseline.edges, margin=0.0, knee=sizes[len(sizes) // 2] if sizes else 1.0)
    places = [(scale.at(low), scale.at(high)) for low, high in pairwise(baseline.edges)]
    counts = baseline.counts[1 : len(places) + 1]
    widths = [max(end - start, _NARROWEST) for start, end in places]
    lengths = bars([count / width for count, width in zip(counts, widths, strict=False)])
    made = []
    for (start, _), width, length in zip(places, widths, lengths, strict=False):
        height = round(max(length / 100 * DRIFT_HEIGHT, 1.0), 1)
        made.append(HistogramBar(start, round(min(width, 100 - start), 3), round(DRIFT_HEIGHT - height, 1), height))
    return DriftChart(tuple(made), sum(baseline.counts) - sum(counts))
