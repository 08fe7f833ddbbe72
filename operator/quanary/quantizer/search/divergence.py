"""How far an INT8 model's output lies from the float model's: finer than any metric, for few samples."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from quanary.quantizer.inference import Array

Floats = npt.NDArray[np.float64]
Divergence = Callable[[Array, Array], float]

_TINY: Final = 1e-12
# Of a sum of probabilities, from 1.
_ROUNDING: Final = 1e-3


def divergence_for(outputs: Sequence[Array], *, answers: bool) -> Divergence:
    """What fits a float model's `outputs`: in nats for probabilities and class scores, else relative.

    `answers`: the metric reads classes in them, so that scores are logits; else they are numbers or embeddings.
    """
    if any(each.dtype.kind != "f" for each in outputs):
        return share_changed
    within = all(((each >= 0) & (each <= 1)).all() for each in outputs)
    wide = all(each.ndim > 0 and each.shape[-1] > 1 for each in outputs)
    if within and wide and all(np.abs(each.sum(axis=-1) - 1).max(initial=0) < _ROUNDING for each in outputs):
        return of_distributions
    if within:
        return of_probabilities
    return of_logits if answers and wide else relative_error


def share_changed(before: Array, after: Array) -> float:
    """Of the elements."""
    return float(np.mean(before != after)) if before.shape == after.shape else 1.0


def of_distributions(before: Array, after: Array) -> float:
    """Kullback-Leibler divergence of `after` from `before`, mean over all but the last axis."""
    p, q = _floats(before), _floats(after)
    return _mean((p * (np.log(p + _TINY) - np.log(np.maximum(q, 0) + _TINY))).sum(axis=-1))


def of_probabilities(before: Array, after: Array) -> float:
    """Kullback-Leibler divergence of independent probabilities, mean over elements."""
    p, q = _floats(before), np.clip(_floats(after), 0, 1)
    yes = p * (np.log(p + _TINY) - np.log(q + _TINY))
    return _mean(yes + (1 - p) * (np.log(1 - p + _TINY) - np.log(1 - q + _TINY)))


def of_logits(before: Array, after: Array) -> float:
    """Kullback-Leibler divergence of their softmax, mean over all but the last axis."""
    p, q = _log_softmax(_floats(before)), _log_softmax(_floats(after))
    return _mean((np.exp(p) * (p - q)).sum(axis=-1))


def relative_error(before: Array, after: Array) -> float:
    """Norm of the error over the norm of `before`."""
    difference, size = np.linalg.norm(_floats(after) - _floats(before)), np.linalg.norm(_floats(before))
    return float(difference / max(float(size), _TINY))


def _floats(values: Array) -> Floats:
    return np.asarray(values, np.float64)


def _log_softmax(scores: Floats) -> Floats:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logs


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if values.size else 0.0
