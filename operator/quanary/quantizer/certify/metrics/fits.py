"""Metrics that are sums over rows: a difference of means, or a ratio of them."""

import math
from dataclasses import dataclass

import numpy as np

from quanary.quantizer.certify.metrics.metric import Estimate, Floats


@dataclass(frozen=True)
class DifferenceOfMeans:
    """Rows: float's part, the artifact's part, size. `sign` is 1 for scores (more is better), -1 for errors."""

    rows: Floats
    sign: int

    @property
    def estimate(self) -> Estimate:
        """Parts over sizes."""
        float_sum, int8_sum, size = (float(each) for each in self.rows.sum(axis=0))
        size = size or math.nan
        return Estimate(float_sum / size, int8_sum / size, self.sign * (float_sum - int8_sum) / size)

    @property
    def influence(self) -> Floats:
        """Of a ratio estimator (Cochran, Sampling Techniques, 1977, section 6)."""
        loss = self.sign * (self.rows[:, 0] - self.rows[:, 1])
        return np.asarray((loss - self.estimate.drop * self.rows[:, 2]) / self.rows[:, 2].mean(), np.float64)

    def drops(self, weights: Floats) -> Floats:
        """Of each resample."""
        float_sum, int8_sum, size = (weights @ self.rows).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.sign * (float_sum - int8_sum) / size, np.float64)


@dataclass(frozen=True)
class RelativeIncrease:
    """Rows: float's error, the artifact's error. The drop is the increase as a share of float's; `root` for RMSE."""

    rows: Floats
    root: bool

    @property
    def estimate(self) -> Estimate:
        """Mean errors, and their ratio less 1."""
        float_mean, int8_mean = (float(each) for each in self._of(self.rows.mean(axis=0)))
        return Estimate(float_mean, int8_mean, int8_mean / (float_mean or math.nan) - 1)

    @property
    def influence(self) -> Floats:
        """Of a ratio estimator; through the square root by its derivative."""
        ratio = self.rows[:, 1].sum() / self.rows[:, 0].sum()
        of_ratio = (self.rows[:, 1] - ratio * self.rows[:, 0]) / self.rows[:, 0].mean()
        return np.asarray(of_ratio / (2 * np.sqrt(max(ratio, 1e-12))) if self.root else of_ratio, np.float64)

    def drops(self, weights: Floats) -> Floats:
        """Of each resample."""
        float_sum, int8_sum = self._of((weights @ self.rows).T)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(int8_sum / float_sum - 1, np.float64)

    def _of(self, sums: Floats) -> Floats:
        return np.sqrt(sums) if self.root else sums
