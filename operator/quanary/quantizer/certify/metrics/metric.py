"""What every metric is: one row of numbers a sample, and an estimate of many rows."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from quanary.quantizer.data import LABEL, Sample
from quanary.quantizer.inference import Array
from quanary.wire.report import RefusedError

FIELD: Final = "spec.validation.data.uri"
METRIC_FIELD: Final = "spec.validation.metric"

Row = tuple[float, ...]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """The metric of both models, and the drop: above 0 the artifact is worse. NaN where rows do not define it."""

    float_value: float
    int8_value: float
    drop: float


class Fit(Protocol):
    """A metric of all rows, ready to be resampled."""

    @property
    def estimate(self) -> Estimate:
        """Of the rows as they are."""

    @property
    def influence(self) -> Floats:
        """Of each row on the drop (the infinitesimal jackknife): their mean is 0, their variance / n the drop's."""

    def drops(self, weights: Floats) -> Floats:
        """The drop with each row counted `weights[resample, row]` times; NaN where that leaves nothing to judge."""


class Metric(ABC):
    """`name` as in the resource, `sentence` for people."""

    name: str
    sentence: ClassVar[str]
    needs_label: bool = False
    code: str = ""  # digest of the code behind it that is not this program's
    kind: ClassVar[Literal["proportion", "bootstrap"]]

    @abstractmethod
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """What one sample says, as numbers.

        Raises:
            RefusedError: naming the sample, if its label or the outputs do not fit the metric.
        """

    @abstractmethod
    def estimate(self, rows: Sequence[Row]) -> Estimate:
        """The metric over all rows."""


class Proportion(Metric):
    """A share of samples that are right. Rows: float right, artifact right (0 or 1)."""

    kind = "proportion"

    @override
    def estimate(self, rows: Sequence[Row]) -> Estimate:
        """Shares, and their difference."""
        float_value, int8_value = (float(each) for each in np.asarray(rows, float).mean(axis=0))
        return Estimate(float_value, int8_value, float_value - int8_value)


class Resampled(Metric):
    """A metric without an exact interval. `event_weight`: a sample lost altogether moves the drop by this over n."""

    kind = "bootstrap"
    event_weight: float = 1.0

    @abstractmethod
    def fit(self, rows: Sequence[Row]) -> Fit:
        """All rows, ready to be resampled."""

    @override
    def estimate(self, rows: Sequence[Row]) -> Estimate:
        """Of the rows as they are."""
        return self.fit(rows).estimate


def label_of(sample: Sample) -> Array:
    """The label of a sample.

    Raises:
        RefusedError: it has none.
    """
    if sample.label is None:
        raise refuse(sample, "no label", f"an array `{LABEL}` in the data")
    return np.asarray(sample.label)


def refuse(sample: Sample, found: str, allowed: str) -> RefusedError:
    """An error that names the sample."""
    return RefusedError(FIELD, f"{sample.where}: {found}", allowed)


def class_labels(sample: Sample, answers: int, classes: int) -> npt.NDArray[np.int64]:
    """Class numbers, one an answer, flat.

    Raises:
        RefusedError: other than that.
    """
    label = label_of(sample)
    if label.dtype.kind not in "iub":
        raise refuse(sample, f"a label of type {label.dtype}", "class numbers (integers)")
    label = label.astype(np.int64).ravel()
    if label.size != answers:
        raise refuse(sample, f"{label.size} labels", f"{answers}, one for each answer")
    if label.size and (label.min() < 0 or label.max() >= classes):
        raise refuse(sample, f"label {label.tolist()[:8]}", f"0 to {classes - 1}")
    return label
