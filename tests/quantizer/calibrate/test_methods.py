from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from quanary.quantizer.calibrate.histogram import BINS, Histogram
from quanary.quantizer.calibrate.methods import (
    LEVELS,
    RANGE_OF,
    Range,
    _divergences,
    entropy,
    mean_squared_error,
    percentile,
)
from quanary.quantizer.inference import Array
from quanary.quantizer.recipe import Method


def histogram_of(values: Array) -> Histogram:
    histogram = Histogram(min(float(values.min()), 0.0), max(float(values.max()), 0.0))
    histogram.add(values)
    return histogram


def drawn(name: str) -> Array:
    draw = np.random.default_rng(7)
    values = {
        "normal": draw.standard_normal(20_000),
        "relu": np.maximum(draw.standard_normal(20_000), 0),
        "long tail": draw.standard_t(2.5, 20_000),
        "positive": draw.uniform(3, 5, 20_000),
        "negative": -draw.gamma(0.7, 1, 20_000),
    }
    return values[name].astype(np.float32)


NAMES = ("normal", "relu", "long tail", "positive", "negative")


def quantization_error(values: Array, low: float, high: float) -> float:
    """Of a real unsigned 8-bit quantizer with a zero point."""
    scale = (high - low) / 255
    zero = round(-low / scale)
    levels = np.clip(np.rint(values / scale) + zero, 0, 255)
    return float(np.mean((values - (levels - zero) * scale) ** 2))


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("name", NAMES)
def test_every_range_holds_zero_and_nothing_that_was_not_seen(method: Method, name: str) -> None:
    values = drawn(name)
    low, high = RANGE_OF[method](histogram_of(values))
    assert min(float(values.min()), 0) <= low <= 0 <= high <= max(float(values.max()), 0)
    assert low < high


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("values", [[0.0, 1.0] * 500, [0.0] * 50, [2.5] * 50, [-1.0, 0.0, 1.0] * 50])
def test_a_handful_of_levels_is_never_cut(method: Method, values: list[float]) -> None:
    histogram = histogram_of(np.array(values, np.float32))
    assert RANGE_OF[method](histogram) == (min(*values, 0.0), max(*values, 0.0))


def test_percentile_cuts_half_of_its_share_at_either_end() -> None:
    values = np.random.default_rng(3).standard_t(2.5, 2_000_000).astype(np.float32)
    histogram = histogram_of(values)
    low, high = percentile(histogram)
    inner = np.quantile(values, [0.5e-5, 1 - 0.5e-5])
    # Outwards to the next edge.
    assert inner[0] - histogram.width <= low <= inner[0]
    assert inner[1] <= high <= inner[1] + histogram.width
    assert histogram.share_outside(low, high) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_mean_squared_error_is_as_good_as_any_range_tried(name: str) -> None:
    values = drawn(name)
    low, high = mean_squared_error(histogram_of(values))
    shares = np.linspace(0.05, 1, 40)
    ends = [(float(values.min().clip(max=0) * a), float(values.max().clip(min=0) * b)) for a in shares for b in shares]
    best = min(quantization_error(values, *each) for each in ends if each[0] < each[1])
    assert quantization_error(values, low, high) <= 1.1 * best


@pytest.mark.parametrize(("cut", "share"), [(entropy, 0.7), (mean_squared_error, 0.97)])
def test_a_long_tail_is_cut_and_a_flat_one_is_not(cut: Callable[[Histogram], Range], share: float) -> None:
    assert cut(histogram_of(drawn("long tail")))[1] < share * drawn("long tail").max()
    flat = histogram_of(np.linspace(0, 1, 100_001, dtype=np.float32))
    assert cut(flat)[1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("low", "high"), [(0, BINS), (0, 700), (300, 1500), (800, 1056), (512, BINS)])
@pytest.mark.parametrize("name", ["normal", "long tail"])
def test_the_divergence_is_that_of_a_plain_computation(name: str, low: int, high: int) -> None:
    histogram = histogram_of(drawn(name))
    inside = histogram.counts[low:high].astype(float)
    p = inside.copy()
    p[0] += histogram.counts[:low].sum()
    p[-1] += histogram.counts[high:].sum()
    q = np.zeros_like(inside)
    ends = np.ceil(np.arange(LEVELS + 1) * (len(inside) / LEVELS)).astype(int)
    for start, end in pairwise(ends):
        filled = inside[start:end] > 0
        if filled.any():
            q[start:end][filled] = inside[start:end].sum() / filled.sum()
    q = (1 - 1e-4) * q / q.sum() + 1e-4 / len(q)
    found = _divergences(histogram)(np.array([low]), np.array([high]))
    assert found[0] == pytest.approx(stats.entropy(p, q), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_share_cut_off_is_that_of_the_values(name: str) -> None:
    values = drawn(name)
    histogram = histogram_of(values)
    low, high = entropy(histogram)
    outside = float(np.mean((values < low) | (values > high)))
    assert histogram.share_outside(low, high) == pytest.approx(outside, abs=1e-4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_ranges_are_counted_whole(dtype: type[np.floating]) -> None:
    largest, smallest = np.finfo(dtype).max, np.finfo(dtype).tiny
    for values in (np.array([-largest / 4, largest / 4], dtype), np.array([smallest, 3 * smallest], dtype)):
        histogram = histogram_of(values)
        assert histogram.counts.sum() == 2
        assert histogram.counts[-1] == 1
