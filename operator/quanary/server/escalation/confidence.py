"""How sure a model is of its own answer: one number, the least of all rows. Pure."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.messages import Signature
from quanary.server.tensors import Tensors, quote
from quanary.wire.report import RefusedError

MEASURES: Final = ("softmax", "margin", "output")
# What rounding may add to the sum of a row of probabilities, however few they are.
_ROUNDING: Final = 0.01
# One step of an 8-bit probability: a row of many that INT8 rounded does not sum to 1, but to this much a class of it.
_STEP: Final = 1 / 255

Confidence = Callable[[Tensors], float]


def confidence_of(measure: str, output: str, signature: Signature) -> Confidence:
    """The confidence of a model's outputs by one of `MEASURES`, read from `output`, or from the first if that is empty.

    Raises:
        RefusedError: the model has no such output, or what it holds says nothing of confidence.
    """
    declared = {each.name: each.datatype for each in signature.outputs}
    name = output or signature.outputs[0].name
    if name not in declared:
        allowed = ", ".join(quote(each) for each in list(declared)[:20])
        raise RefusedError("spec.escalation.output", quote(name), f"the model's outputs: {allowed}")
    if declared[name] == "BYTES" or (measure != "output" and not declared[name].startswith("FP")):
        allowed = (
            "an output of numbers" if measure == "output" else "an output of floating-point scores or probabilities"
        )
        raise RefusedError("spec.escalation.output", f"{quote(name)} of datatype {declared[name]}", allowed)
    read = {"softmax": largest_probability, "margin": margin, "output": least}[measure]
    return lambda outputs: read(outputs[name])


def least(values: NDArray[Any]) -> float:
    """The smallest value; 0 where one is no number, and 1 where there is none: nothing is answered then."""
    if values.size == 0:
        return 1.0
    smallest = float(np.min(values))
    return 0.0 if np.isnan(smallest) else smallest


def largest_probability(output: NDArray[Any]) -> float:
    """The probability of the class that each row says; of the least sure row."""
    return least(_leading(output, 1))


def margin(output: NDArray[Any]) -> float:
    """How far each row's class is before the next one; of the least sure row."""
    leading = _leading(output, 2)
    return least(leading[..., 1] - leading[..., 0])


def _leading(output: NDArray[Any], count: int) -> NDArray[Any]:
    """The `count` largest probabilities of each row along the last axis, ascending: as they are, or of logits."""
    rows = _distributions(output)
    if rows.size == 0:
        return np.zeros((0, count))
    leading = rows.max(axis=-1, keepdims=True) if count == 1 else np.partition(rows, -count, axis=-1)[..., -count:]
    largest = leading[..., -1:]
    are_given = _are_probabilities(rows, largest)
    if are_given.all():
        return leading
    with np.errstate(invalid="ignore"):  # of rows with infinities: NaN, which is no confidence
        powers = np.exp(leading - largest) / np.exp(rows - largest).sum(axis=-1, keepdims=True)
    return np.where(are_given, leading, powers)


def _distributions(output: NDArray[Any]) -> NDArray[Any]:
    """Rows over two classes or more; a single score says how likely yes is."""
    precision = np.float64 if output.dtype == np.float64 else np.float32
    rows: NDArray[Any] = np.atleast_1d(output).astype(precision, copy=False)
    if rows.shape[-1] != 1:
        return rows
    yes = np.where((rows >= 0) & (rows <= 1), rows, 1 / (1 + np.exp(-np.clip(rows, -80, 80))))
    return np.concatenate((yes, 1 - yes), axis=-1)


def _are_probabilities(rows: NDArray[Any], largest: NDArray[Any]) -> NDArray[np.bool_]:
    slack = max(_ROUNDING, min(0.5, rows.shape[-1] * _STEP / 2))
    is_one: NDArray[np.bool_] = np.abs(rows.sum(axis=-1, keepdims=True) - 1) <= slack
    are_in_range: NDArray[np.bool_] = (largest <= 1) & (rows.min(axis=-1, keepdims=True) >= 0)
    return are_in_range & is_one
