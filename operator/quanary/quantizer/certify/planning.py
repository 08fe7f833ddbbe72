"""How many samples would be enough: 4 of 5 such data sets certify."""

from typing import Final

import numpy as np
from scipy.special import bdtr, gammaln, xlog1py, xlogy

from quanary.quantizer.certify.exact import proportion_upper, refutes, score
from quanary.quantizer.certify.quantiles import binomial, normal

POWER: Final = 0.8

# What the search for a number aims at: power is saw-toothed in it, and interpolated here.
_AIM: Final = 0.815
_MOST_SAMPLES: Final = 100_000_000
# Beyond it the score test's number is raised by what the exact bound was seen to need at most.
_MOST_EXACT: Final = 20_000
_EXACT_OVER_SCORE: Final = 1.1
_STEP: Final = 1.03
_NODES: Final = 9


def likely_drop(drop: float, max_drop: float) -> float:
    """The true drop to plan for: the one seen, but no less than half the budget."""
    return max(drop, max_drop / 2)


def paired_samples(drop: float, gaining: float, max_drop: float, confidence: float) -> int | None:
    """Samples for power `POWER` at a true `drop`, with P(gained) = `gaining`; None if no number would do.

    By the score test's sample size (Lu and Bean, 1995), then raised until the exact bound has the power.
    """
    if drop >= max_drop:
        return None
    samples = _score_samples(drop, gaining, max_drop, confidence)
    if samples > _MOST_EXACT:
        samples = int(samples * _EXACT_OVER_SCORE)
        return samples if samples <= _MOST_SAMPLES else None
    while paired_power(samples, drop, gaining, max_drop, confidence) < _AIM:
        samples = int(samples * _STEP) + 1
    return samples


def proportion_samples(rate: float, max_drop: float, confidence: float) -> int | None:
    """The same where nothing can be gained: one proportion with its exact bound."""
    if rate >= max_drop:
        return None
    samples = int(np.log(1 - confidence) / np.log1p(-max_drop))
    while samples <= _MOST_SAMPLES:
        if proportion_power(samples, rate, max_drop, confidence) >= POWER:
            return samples
        samples = int(samples * 1.01) + 1
    return None


def scaled_samples(
    samples: int, margin: float, drop: float, max_drop: float, confidences: tuple[float, float]
) -> int | None:
    """The same for a bound that was `margin` above the drop seen on `samples`, at the first confidence of the two.

    A margin shrinks with the root of the number; the second confidence is that of the next attempt.
    """
    if drop >= max_drop:
        return None
    seen, wanted = (normal(each) for each in confidences)
    deviation = margin / max(seen, 1e-9)
    needed = np.ceil(samples * (deviation * (wanted + normal(POWER)) / (max_drop - drop)) ** 2)
    return int(needed) if needed <= _MOST_SAMPLES else None


def proportion_power(samples: int, rate: float, max_drop: float, confidence: float) -> float:
    """Probability that the exact bound of a proportion stays within the budget."""
    most = binomial(1 - confidence, samples, max_drop) + 1
    while most >= 0 and proportion_upper(most, samples, confidence) > max_drop:
        most -= 1
    return float(bdtr(most, samples, rate)) if most >= 0 else 0.0


def paired_power(samples: int, drop: float, gaining: float, max_drop: float, confidence: float) -> float:
    """Probability that the exact paired bound stays within the budget."""
    low, high = (binomial(each, samples, gaining) for each in (1e-5, 1 - 1e-5))
    gained = np.arange(low, high + 1)
    nodes = np.unique(np.linspace(low, high, _NODES).astype(int))
    most = [most_lost(int(each), samples, max_drop, confidence) for each in nodes]
    limits = np.floor(np.interp(gained, nodes, most))
    within = np.minimum(limits, samples - gained)
    chance = np.where(limits >= 0, bdtr(np.maximum(within, 0), samples - gained, (gaining + drop) / (1 - gaining)), 0)
    choose = gammaln(samples + 1) - gammaln(gained + 1) - gammaln(samples - gained + 1)
    weight = np.exp(choose + xlogy(gained, gaining) + xlog1py(samples - gained, -gaining))
    return float((weight * chance).sum())


def most_lost(gained: int, samples: int, max_drop: float, confidence: float) -> int:
    """The largest number lost that still certifies beside `gained`; -1 if none does. Sought from the score test's."""
    lost = np.arange(samples - gained + 1, dtype=float)
    passes = score(lost, np.full_like(lost, gained), samples, max_drop) <= -normal(confidence)
    most = max(int(passes.sum()) - 1, 0)
    if refutes(most, gained, samples, max_drop, confidence):
        while most < samples - gained and refutes(most + 1, gained, samples, max_drop, confidence):
            most += 1
        return most
    while most >= 0 and not refutes(most, gained, samples, max_drop, confidence):
        most -= 1
    return most


def _score_samples(drop: float, gaining: float, max_drop: float, confidence: float) -> int:
    # Expected counts of a table as large as any: what the restricted estimate of P(gained) tends to.
    losing = gaining + drop
    linear = (2 - losing + gaining) * max_drop - (losing + gaining)
    restricted = (np.sqrt(linear**2 + 8 * gaining * max_drop * (1 - max_drop)) - linear) / 4
    under_null = np.sqrt(2 * restricted + max_drop * (1 - max_drop))
    under_drop = np.sqrt(losing + gaining - drop**2)
    reach = normal(confidence) * under_null + normal(POWER) * under_drop
    return int(np.ceil((reach / (max_drop - drop)) ** 2))
