"""Distances of numbers: MAE and RMSE to a label, cosine between both models."""

from collections.abc import Sequence
from typing import ClassVar, Final

import numpy as np
from typing_extensions import override

from quanary.quantizer.certify.metrics.fits import DifferenceOfMeans, RelativeIncrease
from quanary.quantizer.certify.metrics.metric import (
    Fit,
    Floats,
    Resampled,
    Row,
    label_of,
    refuse,
)
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array

# An artifact that answers NaN or infinity is this many times the label's size wrong: never within a budget.
_HOPELESS: Final = 1e6


def numbers_of(output: Array, sample: Sample, name: str) -> Floats:
    """An output as flat numbers.

    Raises:
        RefusedError: it holds none.
    """
    if output.dtype.kind not in "fiub":
        raise refuse(sample, f"a first output of type {output.dtype}", f"numbers for {name}")
    return output.astype(np.float64).ravel()


def pair_of(float_outputs: list[Array], int8_outputs: list[Array], sample: Sample, name: str) -> tuple[Floats, Floats]:
    """Both first outputs as flat numbers; float's are finite, and as many as the artifact's.

    Raises:
        RefusedError: other than that.
    """
    first, second = (numbers_of(each[0], sample, name) for each in (float_outputs, int8_outputs))
    if not np.isfinite(first).all():
        raise refuse(sample, "float answers NaN or infinity", "samples that float answers with finite numbers")
    if first.size != second.size:
        raise refuse(sample, f"{second.size} numbers from the artifact, {first.size} from float", "as many from both")
    return first, second


class _ErrorToLabel(Resampled):
    """Rows: mean error of float's and of the artifact's first output to `label`, over the output's elements."""

    needs_label = True
    power: ClassVar[int]

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: float's error, the artifact's."""
        first, second = pair_of(float_outputs, int8_outputs, sample, self.name)
        label = label_of(sample)
        if label.dtype.kind not in "fiub" or not np.isfinite(label.astype(np.float64)).all():
            raise refuse(sample, f"a label of type {label.dtype}, or not finite", f"finite numbers for {self.name}")
        truth = label.astype(np.float64).ravel()
        if truth.size != first.size:
            raise refuse(sample, f"{truth.size} numbers in the label", f"{first.size}, one for each of the output")
        if not np.isfinite(second).all():
            second = truth + _HOPELESS * (1 + np.abs(truth))
        return tuple(float((np.abs(each - truth) ** self.power).mean()) for each in (first, second))

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Ratio of mean errors; NaN where float makes none."""
        return RelativeIncrease(np.asarray(rows, np.float64), root=self.power == 2)


class MeanAbsoluteError(_ErrorToLabel):
    """Mean of |output - label|; the drop is the relative increase, MAE(artifact) / MAE(float) - 1."""

    name = "mae"
    sentence = (
        "mean absolute error of the first output to `label` (numbers of the same count)."
        " maxDrop 0.05: an error at most 5 % above float's."
    )
    power = 1


class RootMeanSquaredError(_ErrorToLabel):
    """Root of the mean of (output - label)²; the drop is the relative increase, RMSE(artifact) / RMSE(float) - 1."""

    name = "rmse"
    sentence = (
        "root of the mean squared error of the first output to `label` (numbers of the same count)."
        " maxDrop 0.05: an error at most 5 % above float's."
    )
    power = 2


class Cosine(Resampled):
    """Mean cosine of the angle between both models' first outputs, each sample's flattened; the drop is 1 - mean.

    Two zero vectors are alike (1), one against another is not (0); an artifact's NaN or infinity counts as -1.
    """

    name = "cosine"
    sentence = (
        "mean cosine between both models' first outputs, each flattened (for embeddings). No label."
        " maxDrop 0.01: a mean cosine of at least 0.99."
    )

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: 1, the cosine, 1."""
        first, second = pair_of(float_outputs, int8_outputs, sample, self.name)
        if not np.isfinite(second).all():
            return 1.0, -1.0, 1.0
        lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
        if 0.0 in lengths:
            return 1.0, float(lengths[0] == lengths[1]), 1.0
        return 1.0, float(np.clip((first / lengths[0]) @ (second / lengths[1]), -1, 1)), 1.0

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Difference of means."""
        return DifferenceOfMeans(np.asarray(rows, np.float64), sign=1)
