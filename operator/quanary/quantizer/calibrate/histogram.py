"""Histograms with fixed edges: what is kept of an activation, whatever the number of samples."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from quanary.quantizer.inference import Array

# Eight bins a step of an 8-bit range: a method that cuts at edges is then never more than an eighth of a step off.
BINS: Final = 2048
# Values binned at a time, so that what is needed beside the tensor itself stays small.
_CHUNK: Final = 1 << 18
# Beyond it the difference of two float32, or a product with their inverse, overflows.
_WIDEST_FLOAT32: Final = 1e38

Counts = npt.NDArray[np.int64]


@dataclass
class Histogram:
    """Counts between `low` <= 0 and `high` >= 0, the range of all values with zero in it.

    Exact zeros are counted apart: zero has no quantization error in any range, and after a Relu it outweighs all else.
    """

    low: float
    high: float
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    zeros: int = 0

    @property
    def width(self) -> float:
        """Of one bin."""
        return (self.high - self.low) / BINS

    @property
    def total(self) -> int:
        """Of all values, zeros included."""
        return int(self.counts.sum()) + self.zeros

    @property
    def edges(self) -> npt.NDArray[np.float64]:
        """BINS + 1 of them."""
        return np.linspace(self.low, self.high, BINS + 1)

    def add(self, values: Array) -> None:
        """Count one sample's values."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            self._add(flat[start : start + _CHUNK])

    def _add(self, values: Array) -> None:
        nonzero = values[values != 0]
        self.zeros += values.size - nonzero.size
        places = np.clip(self._places(nonzero), 0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)

    def _places(self, values: Array) -> Counts:
        width = self.width
        if width <= 0:
            return np.zeros(values.size, np.int64)
        scale = 1 / width
        if max(scale, self.high - self.low) > _WIDEST_FLOAT32 or values.dtype != np.float32:
            return np.asarray((values.astype(np.float64) - self.low) / width).astype(np.int64)
        return np.asarray((values - self.low) * scale).astype(np.int64)

    def share_outside(self, low: float, high: float) -> float:
        """Share of all values beyond a range whose ends are edges, or beyond them all."""
        if not self.total:
            return 0.0
        centres = self.edges[:-1] + self.width / 2
        return float(self.counts[(centres < low) | (centres > high)].sum() / self.total)

    def merge(self, other: "Histogram") -> None:
        """Count another's values, of the same edges, as well."""
        self.counts += other.counts
        self.zeros += other.zeros
