"""How far a model's inputs are from its calibration: one formula for the quantizer that finds the limits by drawing
samples again, and for the servers that keep to them. Pure.

The population stability index is the symmetric divergence J of Jeffreys (Proc. R. Soc. A 186, 1946) over bins, named so
in credit scoring (Siddiqi, Credit Risk Scorecards, 2006). Its customary fixed limits say little for small sets
(Potgieter et al., arXiv 2307.11878): each baseline brings limits of its own.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from quanary.wire.report import DriftBaseline

# Added to each bin of either side, in samples of the baseline: an empty bin is no proof that nothing falls there.
SMOOTHING: Final = 0.5


def shares(counts: Sequence[int], samples: int) -> list[float]:
    """[bins], smoothed as if each of the baseline's samples were one value; the same for both sides of a PSI."""
    total, extra = max(sum(counts), 1), SMOOTHING / max(samples, 1)
    smooth = [count / total + extra for count in counts]
    whole = sum(smooth)
    return [each / whole for each in smooth]


def psi(baseline: DriftBaseline, counts: Sequence[int]) -> float:
    """Population stability index of values counted by the baseline's bins: sum (q - p) ln(q / p)."""
    expected, found = shares(baseline.counts, baseline.samples), shares(counts, baseline.samples)
    return math.fsum((q - p) * math.log(q / p) for p, q in zip(expected, found, strict=True))


def budget_of_any(baselines: Iterable[DriftBaseline]) -> float:
    """Share of requests that may hold a value out of range in any input: at most the sum over inputs, at most 1."""
    return min(1.0, math.fsum(each.out_of_range_budget for each in baselines))
