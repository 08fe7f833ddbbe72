"""How far two answers to the same input are apart: 0 for the same answer, infinity for what cannot be the same. Pure.

Every function takes float's answer first, then INT8's, both of one shape and not empty, and judges row by row: the
worst row decides. A value that is no number, on either side, is infinitely far from everything.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NO_ANSWER: Final = -1
# An 8-bit softmax gives 0 where float gives very little: no probability counts as less than this.
LEAST_PROBABILITY: Final = 1e-6
# How far from 1 the sum of a row of probabilities may be, FP16 included.
SUM_TOLERANCE: Final = 5e-3
# Every pair of boxes is looked at: beyond so many in an image only their order pairs them.
GREEDY_LIMIT: Final = 100


class Incomparable(ValueError):  # noqa: N818
    """Float's own answer is of no shape that this divergence is defined on."""


def top1(output: Array) -> Array:
    """What an output says, row by row: the largest class, or the side of 0.5 where there is only one.

    Integers, booleans and strings are answers themselves. A row with NaN says -1.
    """
    if output.dtype.kind != "f":
        return output
    rows = output.reshape(1, -1) if output.ndim == 0 else output
    if rows.shape[-1] == 0:
        return np.zeros(rows.shape[:-1], np.int64)
    # Every user's answer comes by here: one row, the usual case, takes a microsecond.
    if rows.size == rows.shape[-1] > 1:
        place = int(rows.argmax())
        # The first NaN of a row passes for its largest value.
        return np.array(NO_ANSWER if math.isnan(rows.item(place)) else place).reshape(rows.shape[:-1])
    largest = rows.max(axis=-1)
    said = rows.argmax(axis=-1) if rows.shape[-1] > 1 else (largest > 0.5).astype(np.int64)
    return np.where(np.isnan(largest), NO_ANSWER, said)


def of_top1(one: Array, other: Array) -> float:
    """1 if any of two top-1 answers' rows differ, else 0."""
    return 0.0 if (one == other).all() else 1.0


def kullback_leibler(one: Array, other: Array) -> float:
    """KL(one || other) = sum p ln(p/q) in nats, over the last axis (Kullback and Leibler 1951).

    Rows that are not probabilities are logits: their softmax is compared. What a row is, float's answer says.

    Raises:
        Incomparable: a row has fewer than two classes.
    """
    if one.shape[-1:] < (2,):
        raise Incomparable(f"found rows of {one.shape[-1:] or 'no'} classes; allowed: at least 2")
    ours, theirs = _rows(one), _rows(other)
    if not (_are_numbers(ours, or_minus_infinity=True) and _are_numbers(theirs, or_minus_infinity=True)):
        return math.inf
    if _are_probabilities(ours):
        if (theirs < 0).any():
            return math.inf
        p, q = _normalised(ours), _normalised(theirs)
    else:
        p, q = _normalised(_softmax(ours)), _normalised(_softmax(theirs))
    # Rounding may leave a row of equals a little below 0.
    return max(0.0, float(np.sum(p * np.log(p / q), axis=-1).max()))


def cosine(one: Array, other: Array) -> float:
    """1 - the cosine of the angle between two vectors along the last axis: 0 the same direction, 2 the opposite.

    The zero vector has no direction: it is at 0 from itself and at 1 from every other.

    Raises:
        Incomparable: a vector has fewer than two components.
    """
    if one.shape[-1:] < (2,):
        raise Incomparable(f"found vectors of {one.shape[-1:] or 'no'} components; allowed: at least 2")
    ours, theirs = _rows(one), _rows(other)
    if not (_are_numbers(ours) and _are_numbers(theirs)):
        return math.inf
    a, b = _unit(ours), _unit(theirs)
    similarity = np.sum(a * b, axis=-1)
    similarity[~a.any(axis=-1) & ~b.any(axis=-1)] = 1.0
    return float(np.clip(1.0 - similarity, 0.0, 2.0).max())


def box_overlap(one: Array, other: Array) -> float:
    """1 - the least intersection over union (Jaccard 1912) of paired boxes `[x1, y1, x2, y2]` along the last axis.

    Boxes are paired by their order or, if that brings them closer, greedily by overlap within each image of at most
    100 boxes: detectors list boxes by scores, and scores that are nearly equal change places.

    Raises:
        Incomparable: the last axis does not hold 4 coordinates.
    """
    if one.ndim < 2 or one.shape[-1] != 4:
        raise Incomparable(f"found shape {one.shape}; allowed: [..., boxes, 4]")
    ours, theirs = (each.astype(np.float64).reshape(-1, one.shape[-2], 4) for each in (one, other))
    if not (_are_numbers(ours) and _are_numbers(theirs)):
        return math.inf
    least = 1.0
    for image, twin in zip(ours, theirs, strict=True):
        by_order = float(overlap(image, twin).min())
        is_small = by_order < 1.0 and len(image) <= GREEDY_LIMIT
        least = min(least, max(by_order, _least_greedy(image, twin)) if is_small else by_order)
    return 1.0 - least


def tolerance(one: Array, other: Array) -> float:
    """The largest difference in a row of the first axis, relative to the row's largest absolute value in `one`.

    0/0 is 0: where float says nothing but 0, only 0 is near.
    """
    ours, theirs = (each.astype(np.float64).reshape(len(each), -1) for each in (one, other))
    if not (_are_numbers(ours) and _are_numbers(theirs)):
        return math.inf
    # Subtracted in units of float's largest value, so that nothing overflows on the way.
    largest = np.abs(ours).max(axis=-1, keepdims=True)
    with np.errstate(all="ignore"):
        apart = np.abs(theirs / largest - ours / largest).max(axis=-1)
    is_zero = largest[:, 0] == 0
    apart[is_zero] = np.where(theirs[is_zero].any(axis=-1), np.inf, 0.0)
    return float(apart.max())


def overlap(one: Array, other: Array) -> Array:
    """Intersection over union of boxes `[..., 4]`, broadcast; of boxes without area 1 if they are the same, else 0."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    shared = _area(np.concatenate(np.broadcast_arrays(low, high), axis=-1))
    union = _area(one) + _area(other) - shared
    with np.errstate(all="ignore"):
        ratio = np.nan_to_num(shared / union, nan=0.0, posinf=0.0)
    is_same = np.all(one == other, axis=-1)
    return np.where(is_same, 1.0, np.clip(ratio, 0.0, 1.0))


def _area(boxes: Array) -> Array:
    with np.errstate(over="ignore"):
        sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None)
        area: Array = sides[..., 0] * sides[..., 1]
    return area


def _least_greedy(image: Array, twin: Array) -> float:
    """The least overlap when the closest boxes are paired first."""
    table = overlap(image[:, None], twin[None])
    least = 1.0
    for _ in range(len(image)):
        row, column = divmod(int(table.argmax()), len(twin))
        least = float(table[row, column])
        table[row, :] = table[:, column] = -1.0
    return least


def _rows(array: Array) -> Array:
    return array.astype(np.float64).reshape(-1, array.shape[-1])


def _are_numbers(rows: Array, *, or_minus_infinity: bool = False) -> bool:
    """Whether all are; minus infinity is the logit of a class that is ruled out."""
    if or_minus_infinity:
        return not np.isnan(rows).any() and bool(np.isfinite(rows.max(axis=-1)).all())
    return bool(np.isfinite(rows).all())


def _are_probabilities(rows: Array) -> bool:
    return bool((rows >= 0).all()) and bool((np.abs(rows.sum(axis=-1) - 1) <= SUM_TOLERANCE).all())


def _softmax(rows: Array) -> Array:
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    result: Array = powers / powers.sum(axis=-1, keepdims=True)
    return result


def _normalised(rows: Array) -> Array:
    rows = np.maximum(rows, LEAST_PROBABILITY)
    result: Array = rows / rows.sum(axis=-1, keepdims=True)
    return result


def _unit(rows: Array) -> Array:
    """Rows of length 1; those of length 0 as they are."""
    # By the largest component first: squares of very large and very small ones leave the range of FP64.
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    rows = rows / np.where(largest == 0, 1.0, largest)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    result: Array = rows / np.where(length == 0, 1.0, length)
    return result
