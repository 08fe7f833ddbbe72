import numpy as np
import pytest
from scipy.stats import binom

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.certify import (
    ACCURACY,
    AGREEMENT,
    PairedTable,
    drop_upper_bound,
    judge,
    proportion_lower,
    proportion_upper,
    samples_needed,
    sign_off,
)
from quanary.quantizer.inference import answer_of


def table(samples: int, lost: int, gained: int = 0, metric: str = ACCURACY) -> PairedTable:
    return PairedTable(metric, samples, lost, gained, samples - gained, lost + gained)


@pytest.mark.parametrize(("count", "samples"), [(0, 50), (1, 50), (7, 300), (49, 50)])
def test_proportion_bounds_are_where_the_binomial_tail_reaches_the_error(count: int, samples: int) -> None:
    upper, lower = proportion_upper(count, samples, 0.95), proportion_lower(count, samples, 0.95)
    assert binom.cdf(count, samples, upper) == pytest.approx(0.05)
    assert lower == 0 if count == 0 else binom.sf(count - 1, samples, lower) == pytest.approx(0.05)


def test_all_wrong_bounds_nothing() -> None:
    assert proportion_upper(5, 5, 0.95) == 1


@pytest.mark.parametrize("samples", [298, 299])
def test_without_a_loss_the_bound_is_the_rule_of_three(samples: int) -> None:
    bound = drop_upper_bound(table(samples, 0, metric=AGREEMENT), 0.95)
    assert bound == pytest.approx(1 - 0.05 ** (1 / samples))
    assert (bound <= 0.01) == (samples == 299)


@pytest.mark.parametrize(
    ("samples", "budget", "disagreement"),
    [(232, 0.02, 0.0), (500, 0.01, 0.02), (1500, 0.01, 0.005), (1000, 0.02, 0.1)],
)
def test_at_the_budget_at_most_one_in_twenty_passes(samples: int, budget: float, disagreement: float) -> None:
    """Tables whose true drop is exactly the budget; `disagreement` more of them lose and gain evenly."""
    chances = [budget + disagreement / 2, disagreement / 2, 1 - budget - disagreement]
    draws = np.random.default_rng(3).multinomial(samples, chances, 10_000)
    metric = ACCURACY if disagreement else AGREEMENT
    pairs, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    passed = [drop_upper_bound(table(samples, int(b), int(c), metric), 0.95) <= budget for b, c in pairs]
    share = float(counts[np.array(passed)].sum()) / 10_000
    assert share <= 0.05
    # With no drop at all it does pass, so the bound is no blanket no.
    assert drop_upper_bound(table(20 * samples, 0, 0, metric), 0.95) <= budget


def test_the_samples_needed_are_enough_and_one_less_is_not() -> None:
    needed = samples_needed(table(100, 0), 0.01, 0.95)
    assert needed is not None
    assert drop_upper_bound(table(needed, 0), 0.95) <= 0.01 < drop_upper_bound(table(needed - 1, 0), 0.95)


def test_at_the_budget_no_number_of_samples_would_do() -> None:
    assert samples_needed(table(100, 1), 0.01, 0.95) is None


@pytest.mark.parametrize(
    ("counts", "speedup", "verdict"),
    [
        ((1000, 20, 0), 3.0, Verdict.OVER_BUDGET),
        ((100, 0, 0), 3.0, Verdict.NOT_CERTIFIABLE),
        ((100, 0, 0), 0.5, Verdict.NOT_CERTIFIABLE),
        ((1000, 0, 0), 1.09, Verdict.NOT_BENEFICIAL),
        ((1000, 0, 0), 1.1, Verdict.BENEFICIAL),
        ((1000, 0, 300), 1.1, Verdict.BENEFICIAL),
    ],
)
def test_verdicts_come_worst_first(counts: tuple[int, int, int], speedup: float, verdict: Verdict) -> None:
    assert judge(sign_off(table(*counts), 0.01, 0.95), speedup, 1.1)[0] == verdict


def test_a_verdict_for_want_of_samples_says_how_many() -> None:
    signoff = sign_off(table(100, 0), 0.01, 0.95)
    _, because = judge(signoff, 2.0, 1.1)
    assert f"about {signoff.samples_needed} samples are needed" in because


def test_the_figures_are_those_of_the_table() -> None:
    signoff = sign_off(PairedTable(ACCURACY, 200, 6, 2, 180, 10), 0.05, 0.95)
    assert (signoff.float_, signoff.int8, signoff.drop) == (0.9, 0.88, 0.02)
    assert (signoff.disagreement, signoff.lost, signoff.gained) == (0.05, 6, 2)
    assert signoff.disagreement_upper_bound == pytest.approx(proportion_upper(10, 200, 0.95))


def test_counts_follow_who_was_right() -> None:
    counted = PairedTable(ACCURACY)
    for float_answer, int8_answer, label in [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 3, 1), (2, 2, 1)]:
        counted.add(np.array([float_answer]), np.array([int8_answer]), np.array([label]))
    assert counted == PairedTable(ACCURACY, samples=5, lost=1, gained=1, float_right=2, disagreements=3)


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (np.array([[0.1, 0.7, 0.2]], np.float32), [1]),
        (np.array([[[0, 1], [1, 0]]], np.float32), [[1, 0]]),
        (np.array([[0.4], [0.6]], np.float32), [0, 1]),
        (np.float32(0.9).reshape(()), 1),
        (np.array([[np.nan, 1.0]], np.float32), [-1]),
        (np.array([[3, 9]]), [[3, 9]]),
    ],
)
def test_an_answer_is_the_top_class_or_the_side_of_a_half(
    output: np.typing.NDArray[np.generic], answer: object
) -> None:
    assert np.array_equal(answer_of(output), np.array(answer))
