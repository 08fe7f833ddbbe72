"""Which answers are compared."""

from typing import Any

import numpy as np
import pytest

from quanary.server.comparison import Sampler


def vector(value: float) -> dict[str, Any]:
    return {"x": np.array([value], np.float32)}


def test_an_input_is_sampled_as_a_whole_within_an_hour_and_drawn_anew_in_the_next() -> None:
    hour = [0]
    sampler = Sampler(0.5, b"salt", lambda: 3600.0 * hour[0])
    first = [sampler.pick(vector(value)) for value in range(200)]
    assert first == [sampler.pick(vector(value)) for value in range(200)]
    hour[0] = 1
    second = [sampler.pick(vector(value)) for value in range(200)]
    changed = sum((one is None) != (other is None) for one, other in zip(first, second, strict=True))
    assert 50 < changed < 150


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.0, 0, 0), (0.2, 320, 480), (1.0, 2000, 2000)])
def test_the_share_of_distinct_inputs_is_the_ratio(ratio: float, least: int, most: int) -> None:
    sampler = Sampler(ratio, b"salt", lambda: 0.0)
    assert least <= sum(sampler.pick(vector(value)) is not None for value in range(2000)) <= most


def test_two_processes_draw_differently() -> None:
    one, other = Sampler(0.5), Sampler(0.5)
    assert [one.pick(vector(v)) is None for v in range(200)] != [other.pick(vector(v)) is None for v in range(200)]


def test_name_type_shape_and_strings_are_part_of_the_input() -> None:
    sampler = Sampler(1.0, b"salt", lambda: 0.0)
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
    sampler = Sampler(1.0, b"salt", lambda: 3600.0 * hour[0])
    assert [sampler.is_new("one", 7), sampler.is_new("one", 7), sampler.is_new("two", 7)] == [
        True,
        False,
        True,
    ]
    hour[0] = 1
    assert sampler.is_new("one", 7)


def test_memory_of_distinct_inputs_is_bounded() -> None:
    sampler = Sampler(1.0, b"salt", lambda: 0.0, limit=2)
    assert [sampler.is_new("t", i) for i in range(4)] == [True, True, False, False]


def test_parts_of_larger_arrays_and_readers_of_bytes_hash_as_what_they_hold() -> None:
    sampler = Sampler(1.0, b"salt", lambda: 0.0)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    wide = np.zeros((2, 6), np.float32)
    wide[:, ::2] = values
    forms = [values, wide[:, ::2], np.frombuffer(values.tobytes(), np.float32).reshape(2, 3)]
    assert len({sampler.pick({"x": each}) for each in forms}) == 1
