"""What a model's inputs looked like in calibration, so that a server can tell when requests no longer do.

Two watches. The share of requests with any value out of the calibrated range, against a budget. And the population
stability index (PSI) of all values, against what unshifted samples give by chance: values inside a request depend on
each other, so that fixed limits and chi-squared ones alarm without cause; here samples are drawn again, never values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array
from quanary.wire.drift import SMOOTHING
from quanary.wire.report import DriftBaseline

# Of one input of one sample: so many that a sample's own histogram is fair, so few that many samples fit in memory.
VALUES_PER_SAMPLE: Final = 64
INNER_BINS: Final = 10
SIZES: Final = (100, 500, 2000)
SEED: Final = 20_240_601
RESAMPLES: Final = 1000
# Of resampled PSI, so that 99 % of unshifted sets stay under it: tails of a bootstrap are shorter than real ones.
QUANTILE: Final = 0.995
# Draws at a time, so that memory does not follow their number.
_BLOCK: Final = 50

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picked:
    """Of one input of one sample."""

    low: float
    high: float
    values: Floats
    dtype: str


@dataclass(frozen=True)
class InputValues:
    """One input over all samples: range [n] of each, and `values` [n, VALUES_PER_SAMPLE], NaN where it had fewer."""

    name: str
    dtype: str
    lows: Floats
    highs: Floats
    values: Floats

    @classmethod
    def of(cls, picked: Sequence[Mapping[str, Picked]]) -> tuple["InputValues", ...]:
        """From what `pick` returned, sample by sample."""
        names = picked[0] if picked else {}
        return tuple(cls._of_one(name, [each[name] for each in picked]) for name in names)

    @classmethod
    def _of_one(cls, name: str, picked: Sequence[Picked]) -> "InputValues":
        values = np.full((len(picked), VALUES_PER_SAMPLE), np.nan)
        for row, each in zip(values, picked, strict=True):
            row[: len(each.values)] = each.values
        lows, highs = np.array([each.low for each in picked]), np.array([each.high for each in picked])
        return cls(name, picked[0].dtype, lows, highs, values)


def pick(feed: Mapping[str, Array], number: int) -> dict[str, Picked]:
    """Range and some values of each numeric input of the sample of that `number`; texts and booleans have none.

    The places are drawn anew for each sample: a server that counts other values of a request, or all, sees the same
    distribution.
    """
    picked = {}
    for name, array in feed.items():
        if array.dtype.kind not in "iuf":
            continue
        flat = array.reshape(-1)
        places = np.arange(flat.size)
        if flat.size > VALUES_PER_SAMPLE:
            places = np.random.default_rng((SEED, number)).integers(0, flat.size, VALUES_PER_SAMPLE)
        low, high = (float(flat.min()), float(flat.max())) if flat.size else (np.nan, np.nan)
        picked[name] = Picked(low, high, flat[places].astype(np.float64), str(array.dtype))
    return picked


def baselines_of(
    inputs: Sequence[InputValues], kept: npt.NDArray[np.bool_], groups: Sequence[bytes | None]
) -> tuple[DriftBaseline, ...]:
    """What to watch of each input, from the samples kept; samples of one group are drawn together."""
    watched = [each for each in inputs if not np.isnan(each.lows[kept]).all()]
    if not watched:
        return ()
    units = _units([group for group, is_kept in zip(groups, kept, strict=True) if is_kept])
    edges = [_edges(each, kept) for each in watched]
    counts = [_counts(each.values[kept], inner) for each, inner in zip(watched, edges, strict=True)]
    thresholds = _thresholds(counts, units)
    return tuple(
        DriftBaseline(
            input=each.name,
            low=float(np.nanmin(each.lows[kept])),
            high=float(np.nanmax(each.highs[kept])),
            edges=tuple(inner.tolist()),
            counts=tuple(of_sample.sum(axis=0).tolist()),
            samples=int(kept.sum()),
            psi_thresholds=limits,
            out_of_range_budget=_budget(_rate_left_out(each, kept), int(kept.sum())),
        )
        for each, inner, of_sample, limits in zip(watched, edges, counts, thresholds, strict=True)
    )


def judge_held_out(baselines: Sequence[DriftBaseline], held_out: Iterable[Sample]) -> tuple[DriftBaseline, ...]:
    """The same with budgets from samples that were not calibrated on, such as those for tuning."""
    samples, outside = 0, dict.fromkeys((each.input for each in baselines), 0)
    for sample in held_out:
        samples += 1
        for each in baselines:
            values = sample.feed[each.input]
            # What is no number is out of range too, and compares with nothing.
            outside[each.input] += bool(values.size and not (values.min() >= each.low and values.max() <= each.high))
    if not samples:
        return tuple(baselines)
    return tuple(
        each.model_copy(update={"out_of_range_budget": _budget(outside[each.input] / samples, each.samples)})
        for each in baselines
    )


def count(edges: Sequence[float], values: Array) -> Counts:
    """Values by bin: the bin of a value is the number of edges at or below it."""
    places = np.searchsorted(np.asarray(edges), values.reshape(-1).astype(np.float64), side="right")
    return np.bincount(places, minlength=len(edges) + 1)


def _edges(watched: InputValues, kept: npt.NDArray[np.bool_]) -> Floats:
    """Deciles between the lowest value and the next above the highest; values that many samples share have their own.

    Below the first edge and at or above the last are values that calibration never saw.
    """
    low, high = np.nanmin(watched.lows[kept]), np.nanmax(watched.highs[kept])
    values = watched.values[kept]
    at = np.arange(1, INNER_BINS) / INNER_BINS
    inner = np.quantile(values[~np.isnan(values)], at, method="inverted_cdf")
    return np.unique([low, *inner, _next_above(float(high), np.dtype(watched.dtype))])


def _next_above(value: float, dtype: np.dtype[np.generic]) -> float:
    if dtype.kind != "f":
        return value + 1
    above = float(np.nextafter(dtype.type(value), dtype.type(np.inf)))
    return above if np.isfinite(above) else value


def _counts(values: Floats, edges: Floats) -> Counts:
    """[samples, bins]."""
    places = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
    return np.stack([(places == place).sum(axis=1) for place in range(len(edges) + 1)], axis=1)


def _units(groups: Sequence[bytes | None]) -> Counts:
    """Number of the unit that each sample is drawn with."""
    numbers: dict[bytes | int, int] = {}
    return np.array([numbers.setdefault(i if each is None else each, len(numbers)) for i, each in enumerate(groups)])


def _thresholds(counts: Sequence[Counts], units: Counts) -> list[dict[int, float]]:
    """By input and number of samples: a high quantile of PSI between two sets drawn from the same samples.

    The baseline is drawn again too: it is as much a matter of chance as what is compared with it.
    """
    sizes = np.bincount(units)
    by_unit = np.zeros((len(sizes), sum(each.shape[1] for each in counts)), np.int64)
    np.add.at(by_unit, units, np.concatenate(counts, axis=1))
    splits = np.cumsum([each.shape[1] for each in counts])[:-1]
    draw = np.random.default_rng(SEED)
    limits: list[dict[int, float]] = [{} for _ in counts]
    for size in SIZES:
        drawn = max(1, round(size * len(sizes) / len(units)))
        found = [_resample(draw, by_unit, sizes, splits, drawn) for _ in range(RESAMPLES // _BLOCK)]
        for limit, values in zip(limits, np.concatenate(found, axis=1), strict=True):
            limit[size] = float(np.quantile(values, QUANTILE, method="higher"))
    return limits


def _resample(draw: np.random.Generator, by_unit: Counts, sizes: Counts, splits: Counts, drawn: int) -> Floats:
    """PSI [inputs, _BLOCK] of as many units as there are against `drawn`."""
    even = np.full(len(sizes), 1 / len(sizes))
    expected, found = draw.multinomial(len(sizes), even, _BLOCK), draw.multinomial(drawn, even, _BLOCK)
    pairs = zip(*(np.split(each @ by_unit, splits, axis=1) for each in (expected, found)), strict=True)
    return np.stack([_psi(_shares(p, int(sizes.sum())), _shares(q, int(sizes.sum()))) for p, q in pairs])


def _shares(counts: Counts, samples: int) -> Floats:
    """[sets, bins]: `wire.drift.shares` of many sets at once."""
    smooth = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) + SMOOTHING / max(samples, 1)
    return np.asarray(smooth / smooth.sum(axis=1, keepdims=True))


def _psi(expected: Floats, found: Floats) -> Floats:
    """[sets]: `wire.drift.psi` of many sets at once."""
    return np.asarray(((found - expected) * np.log(found / expected)).sum(axis=1))


def _rate_left_out(watched: InputValues, kept: npt.NDArray[np.bool_]) -> float:
    """Share of samples that would be out of the range of all the others: those that alone hold one of its ends."""
    lows, highs = watched.lows[kept], watched.highs[kept]
    alone = np.zeros(len(lows), bool)
    for ends in (lows == np.nanmin(lows), highs == np.nanmax(highs)):
        if ends.sum() == 1:
            alone |= ends
    return float(alone.mean())


def _budget(rate: float, samples: int) -> float:
    """Three times the rate on unseen samples, and never less than three times what is expected for two ends."""
    return min(1.0, max(3 * rate, 6 / (samples + 1)))
