"""How far answers are apart: what each divergence is by definition, and what must hold for any answers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats
from scipy.spatial import distance

from quanary.server.comparison.divergence import (
    Incomparable,
    box_overlap,
    cosine,
    kullback_leibler,
    of_top1,
    tolerance,
    top1,
)

NAN, INF = float("nan"), float("inf")
LAW = settings(deadline=None, derandomize=True, max_examples=60)
SOFT = [kullback_leibler, cosine, box_overlap, tolerance]
Divergence = Callable[[Any, Any], float]


def rows(width: int = 4, low: float = -20, high: float = 20) -> st.SearchStrategy[Any]:
    values = st.floats(low, high, width=32)
    return st.integers(1, 5).flatmap(lambda count: arrays(np.float32, (count, width), elements=values))


def pairs(width: int = 4, low: float = -20, high: float = 20) -> st.SearchStrategy[Any]:
    values = st.floats(low, high, width=32)
    return st.integers(1, 5).flatmap(
        lambda count: st.tuples(*[arrays(np.float32, (count, width), elements=values)] * 2)
    )


def boxes(count: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 100, (1, count, 2))
    return np.concatenate([corners, corners + random.uniform(1, 50, (1, count, 2))], axis=-1)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 0]),
        (np.array([0.1, 0.9, 0.3]), 1),
        (np.array([[0.4], [0.6]]), [0, 1]),
        (np.array(0.7), [1]),
        (np.array([[[1.0, 2], [4, 3]]]), [[1, 0]]),
        (np.array([[NAN, 1], [0, 1], [2, NAN]]), [-1, 1, -1]),
        (np.array([[NAN]]), [-1]),
        (np.array([3, 1], np.int64), [3, 1]),
        (np.array([True, False]), [True, False]),
        (np.array(["cat", "dog"], np.object_), ["cat", "dog"]),
        (np.zeros((0, 3)), []),
        (np.zeros((2, 0)), [0, 0]),
    ],
)
def test_top1_is_the_answer_row_by_row(output: Any, expected: Any) -> None:
    assert top1(output).tolist() == expected


@pytest.mark.parametrize(("one", "other", "expected"), [([0, 1], [0, 1], 0), ([0, 1], [0, 2], 1)])
def test_one_row_that_differs_is_a_mismatch_in_top1(one: list[int], other: list[int], expected: float) -> None:
    assert of_top1(np.array(one), np.array(other)) == expected


@pytest.mark.parametrize("divergence", SOFT)
@pytest.mark.parametrize("broken", [NAN, INF])
def test_what_is_no_number_is_infinitely_far(divergence: Divergence, broken: float) -> None:
    fine = np.array([[0.0, 0, 1, 1], [1, 1, 2, 2]], np.float32)
    bad = fine.copy()
    bad[1, 1] = broken
    assert divergence(fine, bad) == INF
    assert divergence(bad, fine) == INF
    assert divergence(bad, bad) == INF


@pytest.mark.parametrize("divergence", [kullback_leibler, cosine, tolerance])
@LAW
@given(answer=rows())
def test_an_answer_is_at_no_distance_from_itself(divergence: Divergence, answer: Any) -> None:
    assert divergence(answer, answer) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("divergence", [kullback_leibler, cosine, tolerance])
@LAW
@given(pair=pairs())
def test_the_worst_row_decides_and_their_order_does_not(divergence: Divergence, pair: Any) -> None:
    one, other = pair
    whole = divergence(one, other)
    assert whole == pytest.approx(max(divergence(a[None], b[None]) for a, b in zip(one, other, strict=True)))
    assert divergence(one[::-1], other[::-1]) == pytest.approx(whole)
    assert whole >= 0


@LAW
@given(pair=pairs(low=-6, high=6))
def test_kullback_leibler_of_logits_is_that_of_their_softmax(pair: Any) -> None:
    p, q = (special.softmax(each.astype(np.float64), axis=-1) for each in pair)
    expected = max(stats.entropy(a, b) for a, b in zip(p, q, strict=True))
    # With 12 between logits every class has more than the least that counts.
    assert kullback_leibler(*pair) == pytest.approx(expected, abs=1e-9)


@LAW
@given(pair=pairs(low=0.125, high=1))
def test_kullback_leibler_of_probabilities_takes_them_as_they_are(pair: Any) -> None:
    p, q = (each / each.sum(axis=-1, keepdims=True) for each in pair)
    expected = max(stats.entropy(a, b) for a, b in zip(p, q, strict=True))
    assert kullback_leibler(p.astype(np.float32), q.astype(np.float32)) == pytest.approx(expected, abs=1e-6)


def test_float_says_what_a_row_is_and_zeros_of_8_bits_are_little_not_nothing() -> None:
    sure = np.array([[0.998, 0.001, 0.001]], np.float32)
    rounded = np.array([[1.0, 0, 0]], np.float32)
    halved = np.array([[0.5, 0.25, 0.24]], np.float32)
    assert kullback_leibler(sure, rounded) == pytest.approx(0.0118, abs=5e-4)
    assert kullback_leibler(sure, halved) == pytest.approx(0.998 * math.log(0.998 / 0.50505), abs=0.02)
    assert 6 < kullback_leibler(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])) < 7
    assert kullback_leibler(sure, np.array([[1.2, -0.1, -0.1]])) == INF


def test_a_class_that_is_ruled_out_by_both_is_no_mismatch() -> None:
    masked = np.array([[1.0, -INF, 2.0]], np.float32)
    assert kullback_leibler(masked, masked) == 0
    assert 0 < kullback_leibler(np.array([[1.0, -9, 2.0]]), masked) < 1e-3
    assert kullback_leibler(np.array([[1.0, 2, 2.0]]), masked) > 1
    assert kullback_leibler(np.full((1, 3), -INF), masked) == INF


@pytest.mark.parametrize("divergence", [kullback_leibler, cosine])
@pytest.mark.parametrize("shape", [(3, 1), ()])
def test_single_values_are_no_vectors(divergence: Divergence, shape: tuple[int, ...]) -> None:
    with pytest.raises(Incomparable, match="at least 2"):
        divergence(np.ones(shape), np.ones(shape))


@LAW
@given(pair=pairs(low=0.125, high=20))
def test_cosine_is_the_distance_of_that_name(pair: Any) -> None:
    expected = max(distance.cosine(a, b) for a, b in zip(*(each.astype(np.float64) for each in pair), strict=True))
    assert cosine(*pair) == pytest.approx(expected, abs=1e-12)


@LAW
@given(answer=rows(low=0.5, high=2), scale=st.sampled_from([1e-30, 1e-3, 1e3, 1e30]))
def test_cosine_knows_no_length_however_small_or_large(answer: Any, scale: float) -> None:
    answer = answer.astype(np.float64)
    assert cosine(answer, answer * scale) == pytest.approx(0, abs=1e-12)
    assert cosine(answer * 1e200, -answer * 1e200) == pytest.approx(2)


def test_the_zero_vector_has_no_direction() -> None:
    zero, other = np.zeros((1, 3)), np.array([[1.0, 2, 3]])
    assert (cosine(zero, zero), cosine(zero, other), cosine(other, zero)) == (0, 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0, 0, 2, 2], [0, 0, 2, 2], 0),
        ([0, 0, 2, 2], [1, 0, 3, 2], 1 - 1 / 3),
        ([0, 0, 2, 2], [5, 5, 6, 6], 1),
        ([0, 0, 2, 2], [0, 0, 2, 1], 0.5),
        ([3, 3, 3, 3], [3, 3, 3, 3], 0),  # padding
        ([3, 3, 3, 3], [0, 0, 0, 0], 1),
        ([2, 2, 0, 0], [0, 0, 2, 2], 1),  # inside out
    ],
)
def test_boxes_are_apart_by_what_they_do_not_share(one: list[float], other: list[float], expected: float) -> None:
    assert box_overlap(np.array([one], np.float32), np.array([other], np.float32)) == pytest.approx(expected)


@LAW
@given(count=st.integers(1, 12), seed=st.integers(0, 1000), jitter=st.floats(0, 0.2))
def test_boxes_that_change_places_are_found_again(count: int, seed: int, jitter: float) -> None:
    random = np.random.default_rng(seed)
    one = boxes(count, seed)
    other = one + random.uniform(-jitter, jitter, one.shape)
    shuffled = other[:, random.permutation(count)]
    assert box_overlap(one, shuffled) == pytest.approx(box_overlap(one, other))
    assert box_overlap(one, shuffled) <= 0.8


def test_pairing_never_makes_boxes_further_apart_than_their_order_does() -> None:
    # The closest two of all are paired first; that leaves strangers to each other here.
    one = np.array([[0.0, 0, 10, 10], [0, 0, 10, 6]])
    other = np.array([[0.0, 0, 10, 7], [20, 0, 30, 6]])
    by_order = 1 - min(0.7, 0.0)
    assert box_overlap(one, other) <= by_order


def test_beyond_the_limit_of_pairing_their_order_counts() -> None:
    one = boxes(101, 3)
    assert box_overlap(one, one) == 0
    assert box_overlap(one, one[:, ::-1]) > 0.9
    assert box_overlap(one[:, :100], one[:, :100][:, ::-1]) == 0


@pytest.mark.parametrize("shape", [(4,), (2, 5), ()])
def test_what_are_no_boxes_is_incomparable(shape: tuple[int, ...]) -> None:
    with pytest.raises(Incomparable, match="boxes, 4"):
        box_overlap(np.ones(shape), np.ones(shape))


@LAW
@given(pair=pairs(low=0.5, high=20))
def test_tolerance_is_relative_to_float(pair: Any) -> None:
    one, other = (each.astype(np.float64) for each in pair)
    expected = max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(one, other, strict=True))
    assert tolerance(*pair) == pytest.approx(expected)


def test_tolerance_of_zeros_and_of_the_largest_numbers() -> None:
    zero, one, huge = np.zeros((1, 2)), np.array([[0.0, 1e-9]]), np.array([[1.7e308, -1.7e308]])
    assert (tolerance(zero, zero), tolerance(zero, one), tolerance(one, zero)) == (0, INF, 1)
    assert tolerance(huge, -huge) == pytest.approx(2)
    assert tolerance(np.array([[1e-308]]), np.array([[1e308]])) == INF
    assert tolerance(np.array([[100, 50]], np.int32), np.array([[98, 50]], np.int32)) == pytest.approx(0.02)
