"""F1: the harmonic mean of precision and recall, from counts of answers by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from quanary.quantizer.certify.metrics.answers import classes_of
from quanary.quantizer.certify.metrics.metric import Estimate, Fit, Floats, Resampled, Row, class_labels, refuse
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, answer_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """One entry for each kind of answer in a row: the row, the class by label, by float and by the artifact, how many.

    F1 of a class is 2 hits / (labels + answers) of it (van Rijsbergen, 1979). `judged` are the classes averaged over.
    """

    samples: int
    row: Ints
    label: Ints
    answers: tuple[Ints, Ints]
    count: Ints
    judged: Ints

    @cached_property
    def _counts(self) -> "csr_matrix":
        """Rows by (labels, float's answers, its hits, the artifact's answers, its hits) of each judged class."""
        from scipy.sparse import csr_matrix  # noqa: PLC0415 - of no use to other metrics, and long to import

        classes = len(self.judged)
        parts = [(np.ones(len(self.row), bool), self.label)]
        for answer in self.answers:
            parts += [(np.ones(len(self.row), bool), answer), (answer == self.label, answer)]
        rows, columns, counts = [], [], []
        for block, (counted, values) in enumerate(parts):
            place = np.minimum(np.searchsorted(self.judged, values), classes - 1)
            known = counted & (self.judged[place] == values)
            rows.append(self.row[known])
            counts.append(self.count[known])
            columns.append(place[known] + block * classes)
        where = np.concatenate(rows), np.concatenate(columns)
        return csr_matrix((np.concatenate(counts).astype(np.float64), where), shape=(self.samples, 5 * classes))

    @cached_property
    def _totals(self) -> Floats:
        return np.asarray(self._counts.sum(axis=0), np.float64).reshape(5, -1)

    @property
    def estimate(self) -> Estimate:
        """F1 of both."""
        float_value, int8_value = (float(each) for each in _macro(self._totals))
        return Estimate(float_value, int8_value, float_value - int8_value)

    @property
    def influence(self) -> Floats:
        """Of one row, by the derivative of F1 with respect to its counts."""
        labels = self._totals[0]
        judged = max(int((labels > 0).sum()), 1)
        slopes = np.zeros((5, len(labels)))
        for block, sign in ((1, 1.0), (3, -1.0)):
            share = 1 / np.maximum(labels + self._totals[block], 1)
            score = 2 * self._totals[block + 1] * share
            slopes[0] -= sign * score * share
            slopes[block] = -sign * score * share
            slopes[block + 1] = sign * 2 * share
        slopes[:, labels == 0] = 0
        return np.asarray(self._counts @ slopes.ravel() * self.samples / judged, np.float64)

    def drops(self, weights: Floats) -> Floats:
        """Of each resample; a class that it lacks is left out of its average."""
        counts = np.asarray(self._counts.T @ weights.T, np.float64)
        float_value, int8_value = _macro(counts.reshape(5, -1, counts.shape[1]))
        return np.asarray(float_value - int8_value, np.float64)


def _macro(counts: Floats) -> tuple[Floats, Floats]:
    """Mean F1 of float and artifact over the classes with a label; NaN without any."""
    labels = counts[0]
    there = labels > 0
    classes = there.sum(axis=0)
    values = []
    for block in (1, 3):
        scores = np.where(there, 2 * counts[block + 1] / np.maximum(labels + counts[block], 1), 0).sum(axis=0)
        values.append(np.where(classes > 0, scores / np.maximum(classes, 1), np.nan))
    return values[0], values[1]


class F1(Resampled):
    """Macro F1: the mean over the classes that occur in `label`, the same for both models (absolute drop)."""

    name = "f1"
    sentence = (
        "macro F1: mean over the classes in `label` (class numbers, one an answer)."
        " maxDrop 0.01: at most 0.01 below float's F1."
    )
    needs_label = True

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: label, float's answer, the artifact's, and how often; once for each kind, for answers may be pixels."""
        answer = answer_of(float_outputs[0]).ravel()
        label = class_labels(sample, answer.size, self._classes(float_outputs[0], sample))
        other = answer_of(int8_outputs[0]).ravel()
        if other.size != answer.size:
            raise refuse(sample, f"{other.size} answers from the artifact, {answer.size} from float", "as many")
        kinds, counts = np.unique(np.stack([label, answer, other], axis=1), axis=0, return_counts=True)
        return tuple(np.column_stack([kinds, counts]).astype(float).ravel().tolist())

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Counts by class."""
        row = np.repeat(np.arange(len(rows)), [len(each) // 4 for each in rows])
        table = np.concatenate([np.asarray(each, np.float64) for each in rows]).astype(np.int64).reshape(-1, 4)
        judged = self._judged(table[:, 0])
        return Confusion(len(rows), row, table[:, 0], (table[:, 1], table[:, 2]), table[:, 3], judged)

    def _classes(self, scores: Array, sample: Sample) -> int:  # noqa: ARG002
        return classes_of(scores)

    def _judged(self, labels: Ints) -> Ints:
        return np.unique(labels)


class BinaryF1(F1):
    """F1 of class 1 of two (absolute drop)."""

    name = "f1_binary"
    sentence = (
        "F1 of class 1, for models of two classes or one score (`label` 0 or 1, one an answer)."
        " maxDrop 0.01: at most 0.01 below float's F1."
    )

    @override
    def _classes(self, scores: Array, sample: Sample) -> int:
        if scores.dtype.kind == "f" and classes_of(scores) > 2:
            raise refuse(sample, f"scores of {scores.shape[-1]} classes", "two classes or one score for f1_binary")
        return 2

    @override
    def _judged(self, labels: Ints) -> Ints:
        return np.array([1], np.int64)
