"""Wild samples: those whose activations are so far beyond all others' that they would ruin every range alone.

One sample at 10,000 times the scale, among many good ones, leaves the good ones a fortieth of one 8-bit step, and no
way to choose a range from a histogram helps: the sample's own values are many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Of the modified z-score, on logarithms: B. Iglewicz and D. Hoaglin, "How to detect and handle outliers", 1993.
Z_LIMIT: Final = 3.5
_NORMAL: Final = 0.6745  # median absolute deviation of a standard normal
# Between a wild sample and the largest of the others: it takes 3 of their 8 bits. A long tail has no such gap.
GAP: Final = 8.0
# Of the tensors: one tensor alone may well be quiet but for one good sample; a wrong scale shows up to the first
# normalisation, in a good part of them.
AGREEING: Final = 0.25
# Of a float input alone, since a normalisation may follow it at once: below 255, for pixels that nobody divided.
INPUT_GAP: Final = 100.0
# Of the samples, but always one: what is more frequent belongs to the data.
MOST: Final = 0.02
# Fewer have no spread to speak of.
LEAST_SAMPLES: Final = 8
# Smaller ones count as this share of the median: how quiet a sample is does not matter.
_QUIET: Final = 1e-4


@dataclass(frozen=True)
class Judgement:
    """Which samples to keep [n]; why the others are left out, by number; what a person should look at."""

    kept: Flags
    reasons: Mapping[int, str]
    warnings: tuple[str, ...] = ()


def judge(tensors: Mapping[str, Floats], inputs: Mapping[str, Floats], where: Sequence[str]) -> Judgement:
    """Find wild samples by the largest magnitude [n] of each tensor and of each float input on each sample."""
    nobody = Judgement(np.ones(len(where), bool), {})
    if len(where) < LEAST_SAMPLES:
        return nobody
    factors = {name: _factors(each, GAP) for name, each in tensors.items() if np.median(np.nan_to_num(each)) > 0}
    at_inputs = {name: _factors(each, INPUT_GAP) for name, each in inputs.items()}
    reasons = {i: reason for i in range(len(where)) if (reason := _reason(factors, at_inputs, i))}
    if len(reasons) > max(1, int(MOST * len(where))):
        first = where[next(iter(reasons))]
        found = f"{len(reasons)} of {len(where)} calibration samples reach far beyond the others, {first} first"
        return Judgement(nobody.kept, {}, (f"{found}: too many to be accidents, so all were used",))
    kept = nobody.kept.copy()
    kept[list(reasons)] = False
    return Judgement(kept, reasons)


def _factors(magnitudes: Floats, gap: float) -> Floats:
    """By how much each sample exceeds the largest that is not wild; 0 if it is not wild itself."""
    magnitudes = np.nan_to_num(magnitudes)
    median = float(np.median(magnitudes))
    wild = np.zeros_like(magnitudes)
    if median <= 0:
        return wild
    logs = np.log(np.maximum(magnitudes / median, _QUIET))
    spread = float(np.median(np.abs(logs)))
    ordered = np.sort(magnitudes)
    for below, above in zip(ordered[len(ordered) // 2 :], ordered[len(ordered) // 2 + 1 :], strict=False):
        if above >= gap * below and np.log(above / median) * _NORMAL > Z_LIMIT * spread:
            return np.where(magnitudes >= above, magnitudes / below, 0)
    return wild


def _reason(tensors: Mapping[str, Floats], inputs: Mapping[str, Floats], sample: int) -> str:
    """Empty if it is not wild."""
    agreeing = {name: each[sample] for name, each in tensors.items() if each[sample] > 0}
    if agreeing and len(agreeing) >= AGREEING * len(tensors):
        name = max(agreeing, key=lambda each: agreeing[each])
        share = f"{len(agreeing)} of {len(tensors)} tensors"
        return f"{share} reach at least {GAP:g} times as far as on the other samples, {name} {agreeing[name]:.3g} times"
    for name, each in inputs.items():
        if each[sample] > 0:
            return f"its input {name} reaches {each[sample]:.3g} times as far as the other samples'"
    return ""
