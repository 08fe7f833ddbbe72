"""One-sided upper bounds of a drop that has no exact one: bootstrap, t, and gamma for few losses."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from quanary.quantizer.certify.metrics.metric import Fit, Floats
from quanary.quantizer.certify.quantiles import gamma, normal, student

Ints = npt.NDArray[np.int64]

SEED: Final = 0
SOURCE: Final = (
    "approximate: the largest of a BCa bootstrap (Efron, 1987; {resamples} resamples, seed {seed}), Student's t on the"
    " infinitesimal jackknife, and a gamma bound on few losses (Fay and Feuer, 1997)"
)

_FEWEST_RESAMPLES, _MOST_RESAMPLES = 4_000, 20_000
# Resamples beyond the bound that make its place in their order certain enough.
_BEYOND: Final = 200
_CHUNK_NUMBERS: Final = 4_000_000


@dataclass(frozen=True)
class Units:
    """What is drawn at random: samples, or groups of them. `of_sample` is the unit of each sample."""

    of_sample: Ints
    count: int

    @classmethod
    def of(cls, groups: list[bytes | None]) -> "Units":
        """By group; a sample without one is a unit of its own."""
        names: dict[object, int] = {}
        keys: list[object] = [index if group is None else group for index, group in enumerate(groups)]
        return cls(np.array([names.setdefault(key, len(names)) for key in keys], np.int64), len(names))

    @property
    def largest(self) -> float:
        """Share of the samples that the largest unit holds."""
        return float(np.bincount(self.of_sample).max() / len(self.of_sample))

    def sum(self, values: Floats) -> Floats:
        """Of the samples of each unit."""
        return np.asarray(np.bincount(self.of_sample, values, minlength=self.count), np.float64)


def resamples_for(confidence: float) -> int:
    """Enough for a bound at this confidence."""
    return int(np.clip(np.ceil(_BEYOND / (1 - confidence)), _FEWEST_RESAMPLES, _MOST_RESAMPLES))


def upper_bound(fit: Fit, units: Units, confidence: float, event_weight: float) -> float:
    """The largest of three bounds, each of which fails where another does not."""
    drop = fit.estimate.drop
    if units.count < 2:
        return max(1.0, drop)
    by_unit = units.sum(fit.influence) / len(units.of_sample)
    return max(
        bca_upper(fit, units, by_unit, confidence),
        t_upper(drop, by_unit, confidence),
        gamma_upper(units.sum(fit.influence + drop) / len(units.of_sample), event_weight * units.largest, confidence),
    )


def t_upper(drop: float, by_unit: Floats, confidence: float) -> float:
    """By the jackknife's variance over units, with as many degrees of freedom less one: wide where units are few."""
    count = len(by_unit)
    spread = np.sqrt(count / (count - 1) * (by_unit**2).sum())
    return float(drop + student(confidence, count - 1) * spread)


def t_lower(drop: float, by_unit: Floats, confidence: float) -> float:
    """The same from below."""
    return 2 * drop - t_upper(drop, by_unit, confidence)


def gamma_upper(parts: Floats, whole_unit: float, confidence: float) -> float:
    """By losses as weighted rare events, with one more than was seen: at no loss, the rule of three.

    `parts` add up to the drop, one a unit. The unseen event weighs as much as the worst seen, and while few were seen,
    near to what losing a whole unit would. What was gained is taken off as it was seen.
    """
    losses = parts[parts > 0]
    worst = max(float(losses.max(initial=0.0)), whole_unit / np.sqrt(1 + len(losses)))
    mean, variance = losses.sum() + worst, (losses**2).sum() + worst**2
    bound = gamma(confidence, mean**2 / variance, variance / mean)
    return float(bound + parts[parts < 0].sum())


def bca_upper(fit: Fit, units: Units, by_unit: Floats, confidence: float) -> float:
    """Bias-corrected and accelerated bootstrap over units (Efron, JASA 82, 1987)."""
    drops = np.sort(_resampled(fit, units, resamples_for(confidence)))
    drop, count = fit.estimate.drop, len(drops)
    below = (np.searchsorted(drops, drop - 1e-12) + np.searchsorted(drops, drop + 1e-12, side="right")) / 2
    bias = normal(np.clip(below / count, 1 / count, 1 - 1 / count))
    squares = (by_unit**2).sum()
    acceleration = (by_unit**3).sum() / (6 * squares**1.5) if squares > 0 else 0.0
    shifted = bias + normal(confidence)
    room = 1 - acceleration * shifted
    place = ndtr(bias + shifted / room) if room > 0 else 1.0
    bound = float(drops[min(int(np.ceil(place * count)), count - 1)])
    # Resamples with nothing to judge, sorted to the end, bound nothing.
    return bound if np.isfinite(bound) else max(1.0, drop)


def _resampled(fit: Fit, units: Units, resamples: int) -> Floats:
    draw = np.random.default_rng(SEED)
    chunk = max(1, _CHUNK_NUMBERS // max(len(units.of_sample), units.count))
    drops = []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        picks = draw.integers(0, units.count, (rows, units.count)) + units.count * np.arange(rows)[:, None]
        weights = np.bincount(picks.ravel(), minlength=rows * units.count).reshape(rows, units.count)
        drops.append(fit.drops(weights[:, units.of_sample].astype(np.float64)))
    return np.concatenate(drops)
