"""Rows of one artifact over the sealed data, and the sign-off that they add up to."""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from quanary.quantizer.certify.bounds import Bound, disagreement_of, drop_bound, paired_counts
from quanary.quantizer.certify.metrics.metric import FIELD, METRIC_FIELD, Metric, Resampled, Row
from quanary.quantizer.certify.planning import likely_drop, paired_samples, proportion_samples, scaled_samples
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, answer_of
from quanary.wire.report import RefusedError, SealedSignoff

_DEFINED: Final = (
    "labels of both classes (roc_auc, f1), labels with text (wer, cer), a float model with errors (mae, rmse)"
)


@dataclass
class SealedTable:
    """What one artifact did on every sealed sample, in small numbers."""

    metric: Metric
    rows: list[Row] = field(default_factory=list)
    differs: list[bool] = field(default_factory=list)
    groups: list[bytes | None] = field(default_factory=list)

    def add(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> None:
        """Count one sample.

        Raises:
            RefusedError: naming the sample, see `Metric.observe`.
        """
        self.rows.append(self.metric.observe(float_outputs, int8_outputs, sample))
        self.differs.append(not np.array_equal(answer_of(float_outputs[0]), answer_of(int8_outputs[0])))
        self.groups.append(sample.group)

    def sign_off(self, max_drop: float, confidence: float, opening: int = 1) -> SealedSignoff:
        """The figures, judged at what this opening of the seal may err.

        Raises:
            RefusedError: there are no samples, or the metric cannot judge these.
        """
        if not self.rows:
            raise RefusedError(FIELD, "no sealed samples that calibration and tuning did not have", "1 or more")
        allowed = confidence_of(confidence, opening)
        estimate = self.metric.estimate(self.rows)
        if not math.isfinite(estimate.drop):
            found = f"{self.metric.name}, which these {len(self.rows)} samples do not define"
            raise RefusedError(METRIC_FIELD, found, _DEFINED)
        bound = drop_bound(self.metric, self.rows, self.groups, allowed)
        disagreement = disagreement_of(self.differs, self.groups, allowed)
        lost, gained = (0, 0) if isinstance(self.metric, Resampled) else paired_counts(self.rows)
        lacking = estimate.drop <= max_drop < bound.upper
        return SealedSignoff(
            metric=self.metric.name[:64],
            float=estimate.float_value,
            int8=estimate.int8_value,
            drop=estimate.drop,
            drop_upper_bound=bound.upper,
            samples=len(self.rows),
            disagreement=disagreement.share,
            disagreement_upper_bound=disagreement.upper,
            disagreement_lower_bound=disagreement.lower,
            lost=lost,
            gained=gained,
            confidence=allowed,
            max_drop=max_drop,
            samples_needed=self._samples_needed(bound, estimate.drop, max_drop, (allowed, confidence))
            if lacking
            else None,
            groups=len({each for each in self.groups if each is not None}),
            interval=bound.interval,
            opening=opening,
        )

    def _samples_needed(
        self, bound: Bound, drop: float, max_drop: float, confidences: tuple[float, float]
    ) -> int | None:
        """On fresh data, whose seal has not been opened: the second confidence."""
        n, likely = len(self.rows), likely_drop(drop, max_drop)
        if isinstance(self.metric, Resampled):
            return scaled_samples(n, bound.upper - drop, likely, max_drop, confidences)
        _, gained = paired_counts(self.rows)
        if all(right for right, _ in self.rows):
            needed = proportion_samples(likely, max_drop, confidences[1])
        else:
            needed = paired_samples(likely, gained / n, max_drop, confidences[1])
        if needed is None:
            return None
        # Samples of one group say less than as many alone: by as much as they did here.
        return int(np.ceil(needed * max(1.0, (bound.upper - drop) / (bound.plain - drop)) ** 2))


def confidence_of(confidence: float, opening: int) -> float:
    """What opening `opening` of the same sealed data must be judged at: the error falls as 1 / (j (j + 1)).

    Over all openings after the first these errors add up to half the error of one.
    """
    return confidence if opening == 1 else 1 - (1 - confidence) / (opening * (opening + 1))
