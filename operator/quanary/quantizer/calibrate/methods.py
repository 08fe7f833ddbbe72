"""How a range follows from a histogram, for unsigned 8-bit activations with a zero point.

Every range holds zero: the quantizer below widens a range without it, and padding must be exact.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from quanary.quantizer.calibrate.histogram import BINS, Histogram
from quanary.quantizer.recipe import Method

Range = tuple[float, float]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# Of the values kept; half of the rest is cut at either end. ONNX Runtime's default.
PERCENTILE: Final = 99.999
LEVELS: Final = 256
# As many rounds of "best upper end for this lower end, and the other way round" as ever changed anything.
_ROUNDS: Final = 8
# Distance of candidate ends in bins: of the grid of both ends,
_COARSE: Final = 64
# and along one end for Entropy, whose cost is LEVELS a candidate.
_STRIDE: Final = 8
# Of Q spread evenly, so that KL stays finite where Q has nothing.
_SMOOTHING: Final = 1e-4


def min_max(histogram: Histogram) -> Range:
    """All that was seen: nothing is cut."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """The middle 99.999 % of values, either end cut by itself.

    Source: onnxruntime.quantization.calibrate.HistogramCollector.compute_percentile, its asymmetric case; here cut
    outwards to the next edge.
    """
    counts, total = _counts_with_zeros(histogram), histogram.total
    cut = total * (1 - PERCENTILE / 100) / 2
    below = np.cumsum(counts)
    low = int(np.searchsorted(below, cut, side="right"))
    high = BINS - int(np.searchsorted(np.cumsum(counts[::-1]), cut, side="right"))
    edges = histogram.edges
    return min(float(edges[min(low, BINS - 1)]), 0.0), max(float(edges[max(high, 1)]), 0.0)


def entropy(histogram: Histogram) -> Range:
    """The range whose 256 levels lose the least information, by Kullback-Leibler divergence.

    Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017: values beyond the range count at its ends in P but not
    in Q; here with both ends free, and without exact zeros, that every range represents.
    """
    return _search(histogram, _divergences(histogram), _STRIDE, LEVELS)


def mean_squared_error(histogram: Histogram) -> Range:
    """The range with the least expected squared error: step squared / 12, and squared distance to the end where cut.

    Source: R. Banner et al., "Post training 4-bit quantization of convolutional networks for rapid-deployment", NeurIPS
    2019 (equation 5), on the histogram in place of a fitted distribution.
    """
    return _search(histogram, _squared_errors(histogram), 1, 1)


RANGE_OF: Final[Mapping[Method, Callable[[Histogram], Range]]] = MappingProxyType(
    {
        Method.MIN_MAX: min_max,
        Method.PERCENTILE: percentile,
        Method.ENTROPY: entropy,
        Method.MEAN_SQUARED_ERROR: mean_squared_error,
    }
)

# Losses of the ranges from edge `lows[i]` to edge `highs[i]`.
Loss = Callable[[Places, Places], Floats]


def _search(histogram: Histogram, loss: Loss, stride: int, narrowest: int) -> Range:
    """The best of a coarse grid of both ends, then along either end in turn; of equals the widest."""
    zero = _zero_edge(histogram)

    def lows(high: int, step: int) -> Places:
        return np.arange(0, max(min(zero, high - narrowest), 0) + 1, step)

    def highs(low: int, step: int) -> Places:
        return np.arange(BINS, min(max(zero, low + narrowest), BINS) - 1, -step)

    pairs = np.array([(low, high) for low in lows(BINS, _COARSE) for high in highs(int(low), _COARSE)])
    low, high = pairs[loss(pairs[:, 0], pairs[:, 1]).argmin()]
    for _ in range(_ROUNDS):
        before = low, high
        ends = highs(low, stride)
        high = ends[loss(np.full_like(ends, low), ends).argmin()]
        ends = lows(high, stride)
        low = ends[loss(ends, np.full_like(ends, high)).argmin()]
        if before == (low, high):
            break
    edges = histogram.edges
    return min(float(edges[low]), 0.0), max(float(edges[high]), 0.0)


def _zero_edge(histogram: Histogram) -> int:
    """The edge nearest to zero: no lower end lies above it, no upper end below."""
    return round(-histogram.low / histogram.width) if histogram.width > 0 else 0


def _counts_with_zeros(histogram: Histogram) -> Places:
    counts = histogram.counts.copy()
    counts[min(int(-histogram.low / histogram.width), BINS - 1) if histogram.width > 0 else 0] += histogram.zeros
    return counts


def _squared_errors(histogram: Histogram) -> Loss:
    edges, counts = histogram.edges, histogram.counts.astype(np.float64)
    zeroth = _below(counts)
    # Of what is cut, the far edge of its bin: many values may lie at the very end of the range, and a cut costs them.
    left, right = ([_below(counts * ends**power) for power in (1, 2)] for ends in (edges[:-1], edges[1:]))

    def loss(lows: Places, highs: Places) -> Floats:
        low, high = edges[lows], edges[highs]
        step = (high - low) / (LEVELS - 1)
        # Of all values, the cut ones too: otherwise cutting what lies at the very end would seem to pay.
        rounding = zeroth[-1] * step**2 / 12
        under = left[1][lows] - 2 * low * left[0][lows] + low**2 * zeroth[lows]
        first, second = (each[-1] - each[highs] for each in right)
        over = second - 2 * high * first + high**2 * (zeroth[-1] - zeroth[highs])
        return np.asarray(rounding + under + over)

    return loss


def _divergences(histogram: Histogram) -> Loss:
    """KL(P || Q) with sums over levels in place of sums over bins: inside a level Q is one value."""
    counts = histogram.counts.astype(np.float64)
    total = counts.sum()
    mass, filled, entropies = _below(counts), _below((counts > 0).astype(np.float64)), _below(_x_log_x(counts))

    def loss(lows: Places, highs: Places) -> Floats:
        bins = (highs - lows).astype(np.float64)
        # The first bin of each level, and the last level's end.
        starts = lows[:, None] + np.ceil(np.arange(LEVELS + 1) * (bins / LEVELS)[:, None]).astype(np.int64)
        level, occupied = np.diff(mass[starts]), np.diff(filled[starts])
        inside = level.sum(axis=1)
        even = _SMOOTHING / bins
        share = level / np.maximum(occupied, 1) / np.maximum(inside, 1)[:, None]
        logs = np.log((1 - _SMOOTHING) * share + even[:, None])
        cross = (level * logs).sum(axis=1)
        own = entropies[highs] - entropies[lows]
        for cut, edge, place in ((mass[lows], lows, 0), (mass[-1] - mass[highs], highs - 1, LEVELS - 1)):
            at = counts[edge]
            cross += cut * np.where(at > 0, logs[:, place], np.log(even))
            own = own + _x_log_x(at + cut) - _x_log_x(at)
        return np.asarray((own - cross) / max(total, 1) - np.log(max(total, 1)))

    return loss


def _below(values: Floats) -> Floats:
    """Sums of everything below each edge."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _x_log_x(values: Floats) -> Floats:
    return np.asarray(values * np.log(np.maximum(values, 1)))
