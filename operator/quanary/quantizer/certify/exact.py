"""Exact one-sided bounds of a proportion, and of the drop in a paired table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, gammaln, xlog1py, xlogy

from quanary.quantizer.certify.quantiles import beta, normal

Floats = npt.NDArray[np.float64]

PROPORTION_SOURCE: Final = "exact (Clopper and Pearson, 1934)"
PAIRED_SOURCE: Final = (
    "exact unconditional, tables ordered by Tango's score limit (1998; Sidik, 2003), nuisance within its"
    " Berger-Boos interval (1994)"
)

# Of the error, the share that may fall on a nuisance parameter outside its interval.
_NUISANCE_SHARE: Final = 0.02
_GRID, _FINE_GRID = 32, 13
# Relative; a hundred times as fine a grid was seen to find no more than this.
_GRID_ERROR: Final = 1e-4
_WINDOW_DEVIATIONS: Final = 6.5
_TOLERANCE: Final = 1e-9


def proportion_upper(count: int, samples: int, confidence: float) -> float:
    """One-sided upper bound of a binomial proportion (Clopper and Pearson, 1934)."""
    return 1.0 if count >= samples else beta(confidence, count + 1, samples - count)


def proportion_lower(count: int, samples: int, confidence: float) -> float:
    """One-sided lower bound of a binomial proportion (Clopper and Pearson, 1934)."""
    return 0.0 if count <= 0 else beta(1 - confidence, count, samples - count + 1)


@lru_cache(maxsize=4096)
def drop_upper(lost: int, gained: int, samples: int, confidence: float) -> float:
    """One-sided upper bound of P(lost) - P(gained) from paired counts: the least drop that the table refutes."""
    test = PairedTest(lost, gained, samples, 1 - confidence)
    low, high = test.bracket()
    if low == high:
        return high
    # A little beyond the root: on the side that is refuted.
    return min(1.0, _root(test.excess, low, high) + 2 * _TOLERANCE)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where it crosses zero, to `_TOLERANCE`: Ridders' method (IEEE Transactions on Circuits and Systems 26, 1979)."""
    at_low, at_high = falling(low), falling(high)
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        at_middle = falling(middle)
        root = np.sqrt(at_middle**2 - at_low * at_high)
        if root == 0:
            return middle
        guess = middle + (middle - low) * np.sign(at_low - at_high) * at_middle / root
        at_guess = falling(guess)
        ends = sorted([(low, at_low), (middle, at_middle), (guess, at_guess), (high, at_high)])
        (low, at_low), (high, at_high) = next(pair for pair in pairwise(ends) if pair[0][1] >= 0 >= pair[1][1])
    return float(high)


def refutes(lost: int, gained: int, samples: int, drop: float, confidence: float) -> bool:
    """Whether a table refutes every drop of `drop` or more: `drop_upper` within it, for less work."""
    return PairedTest(lost, gained, samples, 1 - confidence).excess(drop) <= 0


@dataclass(frozen=True)
class Region:
    """Tables at least as good as the one seen: `lost` at most `most_lost[i]` where `first + i` were gained."""

    first: int
    most_lost: Floats


class PairedTest:
    """Of the hypotheses `P(lost) - P(gained) >= drop` against one table.

    The tables that are at least as good do not depend on the drop tested, and grow with fewer losses and more gains,
    so their greatest probability under a hypothesis lies on its edge and falls with the drop (Barnard's convexity).
    """

    def __init__(self, lost: int, gained: int, samples: int, error: float) -> None:
        self.samples, self.error, self.drop = samples, error, (lost - gained) / samples
        self._nuisance = error * _NUISANCE_SHARE
        self._low = proportion_lower(gained, samples, 1 - self._nuisance / 2)
        self._high = proportion_upper(gained, samples, 1 - self._nuisance / 2)
        self.limit = score_upper(lost, gained, samples, normal(1 - error))
        self._region = _region(lost, gained, samples, self.limit, self._window(self._low, self._high))

    def excess(self, drop: float) -> float:
        """Of the p-value over the error; at most 0 where the table refutes `drop` or more."""
        return self.p_value(drop) - self.error

    def bracket(self) -> tuple[float, float]:
        """Two drops with the bound between them, from near the score limit, which it is seldom far from."""
        low, step = self.limit, max((self.limit - self.drop) / 32, _TOLERANCE)
        if self.excess(low) <= 0:
            low = -1.0 if self.excess(self.drop) <= 0 else self.drop
            return low, self.limit
        high = low
        while high < 1:
            low, high, step = high, min(high + step, 1.0), 2 * step
            if self.excess(high) <= 0:
                return low, high
        return 1.0, 1.0

    def p_value(self, drop: float) -> float:
        """Of the hypothesis that the drop is `drop` or more."""
        high = min(self._high, (1 - drop) / 2)
        low = max(self._low, -drop)
        if low > high:
            return self._nuisance
        # Even steps of the square root are even steps of standard deviations.
        roots = np.linspace(np.sqrt(low), np.sqrt(high), _GRID)
        chances = self._chance(roots**2, drop)
        top = int(chances.argmax())
        near = np.linspace(roots[max(top - 1, 0)], roots[min(top + 1, _GRID - 1)], _FINE_GRID)
        greatest = max(chances[top], self._chance(near**2, drop).max())
        return float(greatest * (1 + _GRID_ERROR)) + self._nuisance

    def _window(self, low: float, high: float) -> tuple[int, int]:
        reach = [_WINDOW_DEVIATIONS * np.sqrt(self.samples * each) + 16 for each in (low, high)]
        return max(0, int(self.samples * low - reach[0])), min(self.samples, int(self.samples * high + reach[1]))

    def _chance(self, gaining: Floats, drop: float) -> Floats:
        """Probability of the region at each P(gained), with P(lost) = P(gained) + drop."""
        n, region = self.samples, self._region
        gained = region.first + np.arange(len(region.most_lost))
        choose = gammaln(n + 1) - gammaln(gained + 1) - gammaln(n - gained + 1)
        chance = gaining[:, None]
        weight = np.exp(choose + xlogy(gained, chance) + xlog1py(n - gained, -chance))
        losing = np.clip((chance + drop) / (1 - np.minimum(chance, 1 - 1e-12)), 0, 1)
        some = region.most_lost >= 0
        tail = np.zeros_like(weight)
        tail[:, some] = bdtr(region.most_lost[some], n - gained[some], losing)
        return np.asarray((weight * tail).sum(axis=1), np.float64)


def score(lost: Floats, gained: Floats, samples: int, drop: float) -> Floats:
    """Tango's score statistic of `P(lost) - P(gained) = drop` (Statistics in Medicine 17, 1998); below 0 is better."""
    linear = (2 * samples - lost + gained) * drop - (lost + gained)
    root = np.sqrt(np.maximum(linear**2 + 8 * samples * gained * drop * (1 - drop), 0))
    gaining = (root - linear) / (4 * samples)
    variance = samples * (2 * gaining + drop * (1 - drop))
    return np.asarray((lost - gained - samples * drop) / np.sqrt(np.maximum(variance, 1e-200)), np.float64)


def score_upper(lost: int, gained: int, samples: int, quantile: float) -> float:
    """Tango's upper limit: where the score statistic comes down to `-quantile`. Close, but not exact."""
    low, high = (lost - gained) / samples, 1.0
    counts = np.array([lost], float), np.array([gained], float)
    while high - low > _TOLERANCE / 10:
        middle = (low + high) / 2
        low, high = (middle, high) if score(*counts, samples, middle)[0] > -quantile else (low, middle)
    return high


def _region(lost: int, gained: int, samples: int, limit: float, window: tuple[int, int]) -> Region:
    counts = np.array([lost], float), np.array([gained], float)
    seen = score(*counts, samples, limit)[0] + _TOLERANCE
    gains = np.arange(window[0], window[1] + 1, dtype=float)
    inside, outside = np.full(len(gains), -1.0), samples - gains + 1
    while (outside - inside > 1).any():
        middle = np.floor((inside + outside) / 2)
        good = (score(middle, gains, samples, limit) <= seen) | (middle <= inside)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return Region(window[0], np.minimum(np.maximum.accumulate(inside), samples - gains))
