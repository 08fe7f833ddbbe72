import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.quantizer.certify.metrics import open_metric
from quanary.quantizer.certify.metrics.sequences import decode, edits
from quanary.quantizer.inference import Array
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, sample

LETTERS = tuple("abcdefgh")


def steps(text: str, classes: int = 10) -> list[Array]:
    """CTC scores that spell `text`: `-` is the blank, each character one step; a space is the last class."""
    numbers = [0 if each == "-" else classes - 1 if each == " " else 1 + LETTERS.index(each) for each in text]
    return [np.eye(classes, dtype=np.float32)[None, numbers]]


def plain(first: str, second: str) -> int:
    """The textbook recurrence."""
    if not first or not second:
        return len(first) + len(second)
    same = first[-1] == second[-1]
    return min(
        plain(first[:-1], second) + 1,
        plain(first, second[:-1]) + 1,
        plain(first[:-1], second[:-1]) + (not same),
    )


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("", "", 0), ("abcd", "bcda", 2)],
)
def test_edits_are_the_fewest(first: str, second: str, distance: int) -> None:
    assert edits(first, second) == distance


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edits_follow_the_recurrence(first: str, second: str) -> None:
    assert edits(first, second) == plain(first, second)


def test_repeats_are_merged_and_blanks_part_them() -> None:
    assert decode(steps("aab-bb--a")[0][0], 0) == [1, 2, 2, 1]
    assert decode(np.zeros((0, 4), np.float32), 0) == []


def test_character_errors_are_counted_over_the_characters_of_the_labels() -> None:
    metric = open_metric("cer", vocabulary=LETTERS)
    found = estimate(metric, (steps("abc"), steps("ab"), "abc"), (steps("a-ad"), steps("a-ad"), " aae "))
    assert found.float_value == pytest.approx(1 / 6)
    assert found.int8_value == pytest.approx(2 / 6)
    assert found.drop == pytest.approx(1 / 6)


def test_word_errors_are_counted_over_words() -> None:
    metric = open_metric("wer", vocabulary=LETTERS)
    found = estimate(metric, (steps("ab cd"), steps("ab c d"), "ab  cd"), (steps("a"), steps("b"), "a"))
    assert (found.float_value, found.int8_value) == (0, 1)


@pytest.mark.parametrize("name", ["wer", "cer"])
def test_class_numbers_need_no_vocabulary_and_may_be_padded(name: str) -> None:
    metric = open_metric(name)
    assert metric.observe(steps("abc"), steps("dac"), sample([1, 2, 3, -1, 0])) == (0, 2, 3)


def test_a_vocabulary_may_lack_the_blank_and_the_space() -> None:
    metric = open_metric("cer", vocabulary=("a", "b"))
    for classes in (3, 4):
        output = [np.eye(classes, dtype=np.float32)[[1, 2]]]
        assert metric.observe(output, output, sample("ab")) == (0, 0, 2)
    three = [np.eye(3, dtype=np.float32)[[1, 2]]]
    assert open_metric("cer", vocabulary=("", "a", "b")).observe(three, three, sample("ab")) == (0, 0, 2)


def test_labels_without_text_define_no_rate() -> None:
    assert math.isnan(estimate(open_metric("cer", vocabulary=LETTERS), (steps("a"), steps("a"), " ")).drop)


@pytest.mark.parametrize(
    ("output", "label", "message"),
    [
        (steps("a"), "a", "a vocabulary in the model's metadata"),
        (steps("a"), ["a", "b"], "one text, or class numbers padded with -1"),
        (steps("a"), 0.5, "one text, or class numbers"),
        (steps("a"), None, "no label"),
        ([np.zeros((2, 3, 4), np.float32)], [1], r"\[time, classes\]"),
        ([np.zeros(3, np.int64)], [1], r"\[time, classes\]"),
    ],
)
def test_what_does_not_fit_names_the_sample(output: list[Array], label: object, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        open_metric("wer").observe(output, output, sample(label))
