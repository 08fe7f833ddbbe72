"""The sealed data's word: is the drop within the budget, with confidence, on samples nobody tuned on?"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

import numpy as np
from scipy.stats import beta

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, Model, RuntimeErrors, answer_of
from quanary.wire.report import RefusedError, SealedSignoff

AGREEMENT: Final = "agreement"
ACCURACY: Final = "accuracy"
FIELD: Final = "spec.validation.data.uri"

_MOST_SAMPLES: Final = 100_000_000


@dataclass
class PairedTable:
    """Counts over sealed samples. For agreement float is right by definition, so nothing can be gained."""

    metric: str
    samples: int = 0
    lost: int = 0  # float right, artifact wrong
    gained: int = 0  # artifact right, float wrong
    float_right: int = 0
    disagreements: int = 0

    def add(self, float_answer: Array, int8_answer: Array, label: Array | None) -> None:
        """Count one sample."""
        agree = np.array_equal(float_answer, int8_answer)
        float_right = label is None or np.array_equal(float_answer, label)
        int8_right = agree if label is None else np.array_equal(int8_answer, label)
        self.samples += 1
        self.disagreements += not agree
        self.float_right += float_right
        self.lost += float_right and not int8_right
        self.gained += int8_right and not float_right


def compare(float_model: Model, int8_model: Model, samples: Iterable[Sample], metric: str) -> PairedTable:
    """Ask both models every sample.

    Raises:
        RefusedError: a model rejects a sample, or a label does not fit the answer.
    """
    table = PairedTable(metric)
    for sample in samples:
        try:
            float_scores, int8_scores = float_model.run(sample.feed)[0], int8_model.run(sample.feed)[0]
        except RuntimeErrors as error:
            found = f"{sample.where}: a model rejects it: {error}"
            raise RefusedError(FIELD, found, "samples that both models can answer") from error
        answer = answer_of(float_scores)
        label = _label(sample, answer, float_scores) if metric == ACCURACY else None
        table.add(answer, answer_of(int8_scores), label)
    return table


def _label(sample: Sample, answer: Array, scores: Array) -> Array:
    label = np.asarray(sample.label).astype(np.int64)
    if label.size != answer.size:
        raise RefusedError(FIELD, f"{sample.where}: {label.size} labels", f"{answer.size}, one for each answer")
    classes = max(scores.shape[-1], 2) if scores.ndim else 2
    if scores.dtype.kind == "f" and (label.min() < 0 or label.max() >= classes):
        raise RefusedError(FIELD, f"{sample.where}: label {label.tolist()}", f"0 to {classes - 1}")
    return label.reshape(answer.shape)


def proportion_upper(count: int, samples: int, confidence: float) -> float:
    """One-sided upper bound of a binomial proportion (Clopper and Pearson, 1934)."""
    return 1.0 if count == samples else float(beta.ppf(confidence, count + 1, samples - count))


def proportion_lower(count: int, samples: int, confidence: float) -> float:
    """One-sided lower bound of a binomial proportion (Clopper and Pearson, 1934)."""
    return 0.0 if count == 0 else float(beta.ppf(1 - confidence, count, samples - count + 1))


def drop_upper_bound(table: PairedTable, confidence: float) -> float:
    """One-sided upper bound of P(lost) - P(gained), exact: each side bounded at half the error (Bonferroni).

    With agreement nothing can be gained, and the whole error goes to the one proportion.
    """
    return _bound(table.metric, table.lost, table.gained, table.samples, confidence)


def _bound(metric: str, lost: int, gained: int, samples: int, confidence: float) -> float:
    if metric == AGREEMENT:
        return proportion_upper(lost, samples, confidence)
    half = 1 - (1 - confidence) / 2
    return proportion_upper(lost, samples, half) - proportion_lower(gained, samples, half)


def samples_needed(table: PairedTable, max_drop: float, confidence: float) -> int | None:
    """The fewest samples that would certify at the observed rates; None if no number would."""

    def certifies(samples: int) -> bool:
        lost = ceil(table.lost * samples / table.samples)
        gained = floor(table.gained * samples / table.samples)
        return _bound(table.metric, lost, gained, samples, confidence) <= max_drop

    high = table.samples
    while not certifies(high):
        high *= 2
        if high > _MOST_SAMPLES:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if certifies(middle) else (middle, high)
    return high


def sign_off(table: PairedTable, max_drop: float, confidence: float) -> SealedSignoff:
    """The figures of a table, and the number of samples it lacks if it lacks any."""
    n = table.samples
    drop, bound = (table.lost - table.gained) / n, drop_upper_bound(table, confidence)
    return SealedSignoff(
        metric=table.metric,
        float=table.float_right / n,
        int8=(table.float_right - table.lost + table.gained) / n,
        drop=drop,
        drop_upper_bound=bound,
        samples=n,
        disagreement=table.disagreements / n,
        disagreement_upper_bound=proportion_upper(table.disagreements, n, confidence),
        lost=table.lost,
        gained=table.gained,
        confidence=confidence,
        max_drop=max_drop,
        samples_needed=samples_needed(table, max_drop, confidence) if drop <= max_drop < bound else None,
    )


def judge(signoff: SealedSignoff, speedup: float, min_speedup: float) -> tuple[Verdict, str]:
    """The verdict and its sentence. Benefit is judged only on what is certified."""
    drop = f"{signoff.metric} drops by {signoff.drop:.4f} (at most {signoff.drop_upper_bound:.4f} with confidence"
    drop += f" {signoff.confidence:g}) on {signoff.samples} sealed samples; the budget is {signoff.max_drop:g}"
    if signoff.drop > signoff.max_drop:
        return Verdict.OVER_BUDGET, drop
    if signoff.drop_upper_bound > signoff.max_drop:
        needed = signoff.samples_needed
        help_ = f"about {needed} samples are needed" if needed else "no number of samples would do at this rate"
        return Verdict.NOT_CERTIFIABLE, f"{drop}; {help_}"
    speed = f"{speedup:.2f} times as fast as float on this CPU; {min_speedup:g} is asked for"
    verdict = Verdict.BENEFICIAL if speedup >= min_speedup else Verdict.NOT_BENEFICIAL
    return verdict, f"{drop}; {speed}"
