import numpy as np
import pytest

from quanary.quantizer.inference import Array
from quanary.quantizer.search import divergence
from quanary.quantizer.search.divergence import divergence_for

LOGITS = np.array([[2.0, -1.0, 0.5]], np.float32)
SHARES = np.array([[0.7, 0.2, 0.1]], np.float32)


def test_probabilities_that_sum_to_one_are_a_distribution() -> None:
    assert divergence_for([SHARES], answers=True) is divergence.of_distributions
    other = np.array([[0.6, 0.3, 0.1]], np.float32)
    expected = 0.7 * np.log(0.7 / 0.6) + 0.2 * np.log(0.2 / 0.3)
    assert divergence.of_distributions(SHARES, other) == pytest.approx(expected, rel=1e-5)


def test_scores_within_zero_and_one_are_probabilities_each() -> None:
    before, after = np.array([0.9], np.float32), np.array([0.8], np.float32)
    assert divergence_for([before], answers=True) is divergence.of_probabilities
    expected = 0.9 * np.log(0.9 / 0.8) + 0.1 * np.log(0.1 / 0.2)
    assert divergence.of_probabilities(before, after) == pytest.approx(expected, rel=1e-5)


def test_class_scores_are_logits_and_numbers_are_not() -> None:
    assert divergence_for([LOGITS], answers=True) is divergence.of_logits
    assert divergence_for([LOGITS], answers=False) is divergence.relative_error
    assert divergence.of_logits(LOGITS, LOGITS + 7) == pytest.approx(0, abs=1e-6)
    assert divergence.of_logits(LOGITS, -LOGITS) > 0.5
    assert divergence.relative_error(LOGITS, 1.1 * LOGITS) == pytest.approx(0.1, rel=1e-4)


def test_answers_that_are_no_scores_are_compared_one_by_one() -> None:
    before = np.array([1, 2, 3, 4])
    assert divergence_for([before], answers=True)(before, np.array([1, 2, 0, 4])) == 0.25
    assert divergence.share_changed(before, before[:2]) == 1.0


@pytest.mark.parametrize("before", [LOGITS, SHARES, np.array([0.3], np.float32)])
def test_nothing_diverges_from_itself_and_nan_is_not_hidden(before: Array) -> None:
    measure = divergence_for([before], answers=True)
    assert measure(before, before) == pytest.approx(0, abs=1e-9)
    assert np.isnan(measure(before, np.full_like(before, np.nan)))
