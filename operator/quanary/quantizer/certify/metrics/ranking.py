"""Area under the ROC curve: how often a positive scores above a negative."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from quanary.quantizer.certify.metrics.metric import (
    Estimate,
    Fit,
    Floats,
    Resampled,
    Row,
    class_labels,
    refuse,
)
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# In memory at a time, of each of the few arrays that a resample takes.
_NUMBERS: Final = 4_000_000


@dataclass(frozen=True)
class Curve:
    """Scores of one model in order of size, ties together."""

    order: Ints
    starts: Ints

    @classmethod
    def of(cls, scores: Floats) -> "Curve":
        """Ranks of scores."""
        order = np.argsort(scores, kind="stable")
        return cls(order, np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0))

    def areas(self, weights: Floats, positive: Bools) -> Floats:
        """Mann and Whitney's statistic with weights, a tie counting half; NaN without positives or negatives."""
        ranked, up = weights[:, self.order], positive[self.order]
        gains = np.add.reduceat(ranked * up, self.starts, axis=1)
        losses = np.add.reduceat(ranked * ~up, self.starts, axis=1)
        below = losses.cumsum(axis=1) - losses / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((gains * below).sum(axis=1) / (gains.sum(axis=1) * losses.sum(axis=1)), np.float64)

    def placements(self, positive: Bools) -> Floats:
        """Share of the other class that each score is on the right side of (DeLong and others, 1988)."""
        up = positive[self.order]
        gains, losses = (np.add.reduceat(each.astype(float), self.starts) for each in (up, ~up))
        above = (losses.cumsum() - losses / 2) / losses.sum()
        below = (gains.sum() - gains.cumsum() + gains / 2) / gains.sum()
        place = np.empty(len(positive), np.int64)
        place[self.order] = np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(positive)))
        return np.asarray(np.where(positive, above[place], below[place]), np.float64)


@dataclass(frozen=True)
class Ranking:
    """One entry an answer: the row it belongs to, whether it is positive, the scores of both models."""

    samples: int
    row: Ints
    positive: Bools
    scores: tuple[Floats, Floats]

    @property
    def estimate(self) -> Estimate:
        """Areas of both."""
        ones = np.ones((1, len(self.row)))
        float_value, int8_value = (float(Curve.of(each).areas(ones, self.positive)[0]) for each in self.scores)
        return Estimate(float_value, int8_value, float_value - int8_value)

    @property
    def influence(self) -> Floats:
        """By DeLong's placements."""
        first, second = (Curve.of(each).placements(self.positive) for each in self.scores)
        lost, total = first - second, np.zeros(self.samples)
        for side in (self.positive, ~self.positive):
            np.add.at(total, self.row[side], (lost[side] - lost[side].mean()) * self.samples / side.sum())
        return total

    def drops(self, weights: Floats) -> Floats:
        """Of each resample; few at a time, for a row may have any number of answers."""
        few = max(1, _NUMBERS // len(self.row))
        return np.concatenate([self._drops(weights[first : first + few]) for first in range(0, len(weights), few)])

    def _drops(self, weights: Floats) -> Floats:
        each = weights[:, self.row]
        first, second = (Curve.of(scores).areas(each, self.positive) for scores in self.scores)
        return np.asarray(first - second, np.float64)


class RocAuc(Resampled):
    """Area under the ROC curve (Mann and Whitney, 1947; Hanley and McNeil, 1982), as an absolute drop.

    The score is the single one, or that of class 1 less that of class 0. An artifact's NaN is ranked on the wrong side.
    """

    name = "roc_auc"
    sentence = (
        "area under the ROC curve, for models of two classes or one score (`label` 0 or 1, one an answer)."
        " maxDrop 0.01: at most 0.01 below float's area."
    )
    needs_label = True

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: label, float's score, the artifact's; thrice as many numbers as answers."""
        first, second = (_scores(each[0], sample) for each in (float_outputs, int8_outputs))
        label = class_labels(sample, first.size, 2)
        if not np.isfinite(first).all():
            raise refuse(sample, "float answers NaN or infinity", "samples that float answers with finite numbers")
        if first.size != second.size:
            raise refuse(sample, f"{second.size} scores from the artifact, {first.size} from float", "as many")
        wrong = np.where(label == 1, -np.inf, np.inf)
        second = np.where(np.isnan(second), wrong, second)
        return tuple(np.stack([label, first, second], axis=1).ravel().tolist())

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Scores in order; NaN where all labels are the same."""
        row = np.repeat(np.arange(len(rows)), [len(each) // 3 for each in rows])
        table = np.concatenate([np.asarray(each, np.float64) for each in rows]).reshape(-1, 3)
        return Ranking(len(rows), row, table[:, 0] == 1, (table[:, 1], table[:, 2]))


def _scores(output: Array, sample: Sample) -> Floats:
    classes = output.shape[-1] if output.ndim else 1
    if output.dtype.kind != "f" or classes not in {1, 2}:
        found = f"a first output {output.dtype}{list(output.shape)}"
        raise refuse(sample, found, "scores of two classes, or one score, for roc_auc")
    scores = output.astype(np.float64).reshape(-1, classes)
    return np.asarray(scores[:, 1] - scores[:, 0] if classes == 2 else scores[:, 0], np.float64)
