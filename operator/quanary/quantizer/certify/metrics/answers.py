"""Shares of samples answered right: agreement, accuracy, recall@k."""

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from quanary.quantizer.certify.metrics.metric import METRIC_FIELD, Proportion, Row, class_labels, refuse
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, answer_of
from quanary.wire.report import RefusedError


def classes_of(scores: Array) -> int:
    """How many classes an output tells apart; a single score is one side of a half or the other."""
    if scores.dtype.kind != "f":
        return int(np.iinfo(np.int64).max)
    return max(scores.shape[-1], 2) if scores.ndim else 2


class Agreement(Proportion):
    """Share of samples that float and artifact answer alike; float is right by definition.

    The answer is the top-1 class along the last axis of the first output, or the side of 0.5 of a single score. Several
    answers in one sample must all be alike: a sample counts as a whole, since its answers are not independent.
    """

    name = "agreement"
    sentence = (
        "share of samples that both models answer alike (all answers of a sample). No label."
        " maxDrop 0.01: at most 1 % of samples answered differently."
    )

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: 1, and whether both agree."""
        return 1.0, float(np.array_equal(answer_of(float_outputs[0]), answer_of(int8_outputs[0])))


class Accuracy(Proportion):
    """Share of samples whose answers are all those of `label` (class numbers, one an answer)."""

    name = "accuracy"
    sentence = (
        "share of samples answered as `label` says (class numbers, one an answer; all answers of a sample)."
        " maxDrop 0.01: at most 1 percentage point less than float."
    )
    needs_label = True

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: float right, artifact right."""
        answer = answer_of(float_outputs[0])
        label = class_labels(sample, answer.size, classes_of(float_outputs[0])).reshape(answer.shape)
        return tuple(float(np.array_equal(each, label)) for each in (answer, answer_of(int8_outputs[0])))


class RecallAtK(Proportion):
    """Share of samples whose label is among the `k` highest scores along the last axis (ties: lower class first)."""

    sentence = (
        "(as recall@5) share of samples whose `label` (a class or candidate number) is among the k highest scores."
        " maxDrop 0.01: at most 1 percentage point less than float."
    )
    needs_label = True

    def __init__(self, text: str) -> None:
        if not text.isdigit() or int(text) < 1:
            raise RefusedError(METRIC_FIELD, f"recall@{text}", "recall@K with a whole number K of 1 or more")
        self.k = int(text)
        self.name = f"recall@{self.k}"

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: float finds all labels of the sample, artifact finds them."""
        scores = float_outputs[0]
        if scores.dtype.kind != "f" or not scores.ndim or scores.shape[-1] <= self.k:
            found = f"a first output {scores.dtype}{list(scores.shape)}"
            raise refuse(sample, found, f"scores of more than {self.k} classes for {self.name}")
        label = class_labels(sample, scores.size // scores.shape[-1], scores.shape[-1])
        return tuple(float(self._finds(each, label)) for each in (scores, int8_outputs[0]))

    def _finds(self, scores: Array, label: npt.NDArray[np.int64]) -> bool:
        rows = scores.reshape(-1, scores.shape[-1])
        if len(rows) != len(label) or np.isnan(rows).any():
            return False
        wanted = np.take_along_axis(rows, label[:, None], axis=1)
        before = (rows > wanted) | ((rows == wanted) & (np.arange(rows.shape[1]) < label[:, None]))
        return bool((before.sum(axis=1) < self.k).all())
