"""Three ways to speak of a speedup: it is there, it is not, or these blocks cannot tell.

Runs differ by a tenth from process to process, so the block is the unit: a t-interval over the logarithms of its ratios
(their mean is a geometric mean: twice as fast and half as fast cancel). Looked at after 5, 10 and 15 blocks, each look
with a third of the error (Bonferroni), so that looking early costs no false word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from quanary.wire.report import BatchFigures, BenefitFigures, Interval

LOOKS: Final = (5, 10, 15)
# Of each wrong word: Beneficial below the limit, and NotBeneficial above it.
ALPHA: Final = 0.05

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Benefit:
    """Whether INT8 is faster by the wanted factor (None: these blocks cannot tell), and smaller by the wanted share."""

    faster: bool | None
    smaller: bool


def decide(figures: BenefitFigures) -> Benefit:
    """By the interval at batch 1; a server's batch is only as large as its traffic."""
    faster = is_faster(at_batch_one(figures).interval, figures.min_speedup)
    return Benefit(faster, smaller=1 - figures.size_ratio >= figures.min_size_reduction)


def at_batch_one(figures: BenefitFigures) -> BatchFigures:
    """Raises ValueError if nobody measured it."""
    for each in figures.batches:
        if each.batch == 1:
            return each
    message = f"benefit without batch 1, only {[each.batch for each in figures.batches]}"
    raise ValueError(message)


def is_faster(interval: Interval, limit: float) -> bool | None:
    """True if all of the interval is at the limit or above, False if all is below, else None."""
    if interval.low >= limit:
        return True
    return False if interval.high < limit else None


def interval_of(ratios: Sequence[float]) -> Interval:
    """Where the true ratio lies; each end errs with `ALPHA` over all looks together."""
    _, low, high = t_interval(np.log(ratios))
    return Interval(low=float(np.exp(low)), high=float(np.exp(high)))


def mean_of(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(ratios))))


def t_interval(logs: npt.NDArray[Any]) -> tuple[Array, Array, Array]:
    """Mean, lower and upper bound along the last axis, one block an element; each bound at one look's error.

    Student's t for the mean of a normal sample of unknown variance (Gosset 1908).
    """
    blocks = logs.shape[-1]
    mean = logs.mean(axis=-1)
    quantile = stdtrit(blocks - 1, 1 - ALPHA / len(LOOKS))
    reach = quantile * logs.std(axis=-1, ddof=1) / np.sqrt(blocks)
    return mean, mean - reach, mean + reach
