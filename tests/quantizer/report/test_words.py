import math

import pytest

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0083, "0.0083"),
        (0.999, "0.999"),
        (0.99999, "1"),
        (-0.0041234, f"{words.MINUS}0.00412"),
        (100.0, "100"),
        (12747.0, "12,747"),
        (1234567.0, "1,234,567"),
        (2.4e-7, f"2.4e{words.MINUS}7"),
        (2.53e9, "2.53e9"),
        (math.inf, "∞"),
        (-math.inf, f"{words.MINUS}∞"),
        (math.nan, words.UNKNOWN),
    ],
)
def test_figures_read_as_people_write_them(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.32, "1.32 s"),
        (0.00132, "1.32 ms"),
        (0.00045, "450 µs"),
        (3e-9, "3 ns"),
        (3e-12, "0.003 ns"),
        (0.0, words.UNKNOWN),
    ],
)
def test_times_are_in_the_unit_that_needs_no_exponent(value: float, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.83, "83 % of the budget"),
        (0.6049, "60 % of the budget"),
        (34.1, "34 times the budget"),
        (-0.1, "Nothing of the budget"),
        (math.nan, "The bound is unknown"),
    ],
)
def test_the_use_of_the_budget_is_said_in_words(share: float, text: str) -> None:
    assert words.budget_use(share) == text


def test_what_was_not_measured_is_a_dash() -> None:
    assert words.times(0.0) == words.percent(math.nan) == words.UNKNOWN
    assert (words.times(2.914), words.percent(0.586)) == (f"2.91{words.TIMES}", "58.6 %")


def test_amounts_have_their_plural() -> None:
    assert [words.plural(1, "sample"), words.plural(2000, "sample"), words.plural(2, "entry", "entries")] == [
        "1 sample",
        "2,000 samples",
        "2 entries",
    ]


def test_every_verdict_has_a_headline_of_its_own() -> None:
    assert set(words.HEADLINES) == set(Verdict)
    assert len({each.words for each in words.HEADLINES.values()}) == len(Verdict)
    assert words.HEADLINES[Verdict.OVER_BUDGET].tone == "bad"
    assert words.HEADLINES[Verdict.BENEFICIAL].tone == "good"
