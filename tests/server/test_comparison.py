"""Sampling and sameness."""

from typing import Any

import numpy as np
import pytest

from quanary.server.comparison import Sampler, is_same, top1

NAN = float("nan")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 0]),
        (np.array([0.1, 0.9, 0.3]), 1),
        (np.array([[0.4], [0.6]]), [0, 1]),
        (np.array(0.7), [1]),
        (np.array([[[1.0, 2], [4, 3]]]), [[1, 0]]),
        (np.array([[NAN, 1], [0, 1]]), [-1, 1]),
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


@pytest.mark.parametrize(
    ("one", "other", "expected"), [([0, 1], [0, 1], True), ([0, 1], [0, 2], False), ([0], [0, 0], False)]
)
def test_one_row_that_differs_is_a_mismatch(one: list[int], other: list[int], *, expected: bool) -> None:
    assert is_same(np.array(one), np.array(other)) is expected


def vector(value: float) -> dict[str, Any]:
    return {"x": np.array([value], np.float32)}


def test_an_input_is_sampled_as_a_whole_within_an_hour_and_drawn_anew_in_the_next() -> None:
    hour = [0]
    sampler = Sampler(0.5, b"salt", lambda: hour[0])
    first = [sampler.pick(vector(value)) for value in range(200)]
    assert first == [sampler.pick(vector(value)) for value in range(200)]
    hour[0] = 1
    second = [sampler.pick(vector(value)) for value in range(200)]
    changed = sum((one is None) != (other is None) for one, other in zip(first, second, strict=True))
    assert 50 < changed < 150


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.2, 320, 480), (1.0, 2000, 2000)])
def test_the_share_of_distinct_inputs_is_the_ratio(ratio: float, least: int, most: int) -> None:
    sampler = Sampler(ratio, b"salt", lambda: 0)
    assert least <= sum(sampler.pick(vector(value)) is not None for value in range(2000)) <= most


def test_two_processes_draw_differently() -> None:
    one, other = Sampler(0.5), Sampler(0.5)
    assert [one.pick(vector(v)) is None for v in range(200)] != [other.pick(vector(v)) is None for v in range(200)]


def test_name_type_shape_and_strings_are_part_of_the_input() -> None:
    sampler = Sampler(1.0, b"salt", lambda: 0)
    inputs: list[dict[str, Any]] = [
        {"x": np.zeros(2, np.float32)},
        {"y": np.zeros(2, np.float32)},
        {"x": np.zeros((2, 1), np.float32)},
        {"x": np.zeros(2, np.int32)},
        {"x": np.array(["ab", "c"], np.object_)},
        {"x": np.array(["a", "bc"], np.object_)},
    ]
    assert len({sampler.pick(each) for each in inputs}) == len(inputs)


def test_an_input_is_new_once_an_hour_for_each_twin() -> None:
    hour = [0]
    sampler = Sampler(1.0, b"salt", lambda: hour[0])
    assert [sampler.is_new("one", b"k"), sampler.is_new("one", b"k"), sampler.is_new("two", b"k")] == [
        True,
        False,
        True,
    ]
    hour[0] = 1
    assert sampler.is_new("one", b"k")


def test_memory_of_distinct_inputs_is_bounded() -> None:
    sampler = Sampler(1.0, b"salt", lambda: 0, limit=2)
    assert [sampler.is_new("t", bytes([i])) for i in range(4)] == [True, True, False, False]
