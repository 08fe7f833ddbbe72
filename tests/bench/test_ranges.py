"""Figures against their ranges."""

from pathlib import Path

import pytest

from bench.ranges import broken

RANGES = """
"a.least" = { at_least = 1.0 }
"a.both" = { at_least = 1, at_most = 2 }
"b.most" = { at_most = 0 }
"""
GOOD = {"a.least": 1.0, "a.both": 2.0, "b.most": 0.0, "a.shown": -7.0}


@pytest.fixture
def ranges(tmp_path: Path) -> Path:
    path = tmp_path / "ranges.toml"
    path.write_text(RANGES)
    return path


def test_figures_in_their_ranges_and_those_without_one_are_fine(ranges: Path) -> None:
    assert broken(GOOD, ranges) == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"a.least": 0.99}, "a.least is 0.990; it must be at least 1.0"),
        ({"a.least": float("nan")}, "a.least is nan; it must be at least 1.0"),
        ({"a.both": 2.1}, "a.both is 2.100; it must be at least 1 and at most 2"),
        ({"b.most": 1.0}, "b.most is 1.000; it must be at most 0"),
    ],
)
def test_a_figure_out_of_its_range_is_told(changed: dict[str, float], line: str, ranges: Path) -> None:
    assert broken({**GOOD, **changed}, ranges) == [line]


def test_a_figure_that_is_missing_breaks_its_range(ranges: Path) -> None:
    less = {name: value for name, value in GOOD.items() if name != "b.most"}
    assert broken(less, ranges) == ["b.most is missing; it must be at most 0"]
    assert broken(less, ranges, ("a.",)) == []
