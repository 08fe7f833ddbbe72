"""Durations as strings."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.api.quantities import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("60ms", 0.06), ("90s", 90), ("1m30s", 90), ("24h", 86_400), ("0.5s", 0.5), ("1h1m", 3660)]
)
def test_usual_spellings_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "-1s", "1d", "s", "1s2", None, 5])
def test_anything_else_is_refused_with_what_is_allowed(text: object) -> None:
    with pytest.raises(ValueError, match=r"allowed: a duration such as"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_what_is_written_reads_back_the_same(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value)) == value
