"""Quantiles of the usual distributions. From scipy.special: scipy.stats takes longer to import than many a search."""

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik, betaincinv, gammaincinv, ndtri, stdtrit

Floats = npt.NDArray[np.float64]


def normal(share: float) -> float:
    """Of the standard normal."""
    return float(ndtri(share))


def beta(share: float, a: float, b: float) -> float:
    """Of the beta distribution."""
    return float(betaincinv(a, b, share))


def student(share: float, degrees: int) -> float:
    """Of Student's t."""
    return float(stdtrit(degrees, share))


def gamma(share: float, shape: float, scale: float) -> float:
    """Of the gamma distribution."""
    return float(gammaincinv(shape, share) * scale)


def binomial(share: float, trials: int, chance: float) -> int:
    """The least count that is not exceeded with this probability."""
    if not 0 < chance < 1:
        return trials if chance >= 1 else 0
    above = int(np.ceil(bdtrik(share, trials, chance)))
    below = max(above - 1, 0)
    return below if bdtr(below, trials, chance) >= share else above
