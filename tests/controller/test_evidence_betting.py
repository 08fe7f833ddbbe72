"""Laws of the bets and of the prior mass, on which every guarantee rests."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.controller.evidence.betting import (
    BREACH_CEILING,
    Breach,
    Safety,
    breach_bets,
    safety_bets,
)
from quanary.controller.evidence.schedule import DAY_SECONDS, Schedule

LAW = settings(deadline=None, derandomize=True)
budgets = st.floats(min_value=1e-4, max_value=0.9)
counts = st.integers(min_value=1, max_value=300)


def mean_factor(bet: tuple[float, float], n: int, rate: float) -> float:
    """Over Binomial(n, rate) bad outcomes, summed out by hand."""
    intercept, slope = bet
    return math.fsum(
        math.comb(n, k) * rate**k * (1 - rate) ** (n - k) * (intercept + slope * k / n) for k in range(n + 1)
    )


@LAW
@given(budget=budgets, n=counts)
def test_every_bet_is_fair_at_the_budget(budget: float, n: int) -> None:
    for bet in (*breach_bets(budget, n), *safety_bets(budget, n)):
        assert mean_factor(bet, n, budget) == pytest.approx(1.0, abs=1e-9)


@LAW
@given(budget=budgets, n=counts, part=st.floats(min_value=0, max_value=1))
def test_breach_bets_lose_below_the_budget_and_safety_bets_above_it(budget: float, n: int, part: float) -> None:
    below, above = budget * part, budget + (1 - budget) * part
    assert all(mean_factor(bet, n, below) <= 1 + 1e-9 for bet in breach_bets(budget, n))
    assert all(mean_factor(bet, n, above) <= 1 + 1e-9 for bet in safety_bets(budget, n))


@LAW
@given(budget=budgets, n=counts, share=st.floats(min_value=0, max_value=1))
def test_no_outcome_ruins_a_bet(budget: float, n: int, share: float) -> None:
    factors = [a + b * share for a, b in (*breach_bets(budget, n), *safety_bets(budget, n))]
    assert min(factors) > 0


@LAW
@given(budget=st.floats(min_value=0.001, max_value=0.05), n=counts)
def test_bad_ticks_raise_breach_and_clean_ticks_raise_safety(budget: float, n: int) -> None:
    assert all(a + b > 1 for a, b in breach_bets(budget, n))
    assert all(a > 1 for a, _ in safety_bets(budget, n))


@LAW
@given(budget=budgets, mass=st.floats(min_value=0, max_value=1))
def test_a_tick_without_outcomes_changes_only_the_mass(budget: float, mass: float) -> None:
    breach, safety = Breach([0.1, 0.2, 0.3, 0.0]), Safety()
    breach.bet(0, 0, budget, mass)
    safety.bet(0, 0, budget, ceiling=100)
    assert breach.value == pytest.approx(0.6 + mass)
    assert (safety.value, safety.best) == (1.0, 1.0)


@LAW
@given(ticks=st.lists(st.tuples(st.integers(0, 3), st.integers(3, 40)), max_size=30), seed=st.integers(0, 1000))
def test_the_order_of_ticks_does_not_matter_for_safety(ticks: list[tuple[int, int]], seed: int) -> None:
    shuffled = random.Random(seed).sample(ticks, len(ticks))
    values = []
    for order in (ticks, shuffled):
        safety = Safety()
        for k, n in order:
            safety.bet(k, n, 0.1, ceiling=math.inf)
        values.append(safety.value)
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_neither_evidence_grows_without_bound() -> None:
    breach, safety = Breach([0.1] * 4), Safety()
    for _ in range(5000):
        breach.bet(5, 5, 0.01, 0.0)
        safety.bet(0, 100, 0.05, ceiling=2000.0)
    assert breach.value == BREACH_CEILING
    assert safety.value == pytest.approx(2000.0)


def test_lost_outcomes_take_the_gain_and_leave_the_loss() -> None:
    good, bad = Safety(), Safety()
    good.bet(0, 100, 0.05, ceiling=2000.0)
    bad.bet(50, 100, 0.05, ceiling=2000.0)
    loss = bad.value
    good.forgo()
    bad.forgo()
    assert good.value == pytest.approx(1.0)
    assert bad.value == loss < 1


def test_a_spent_alarm_needs_new_mass() -> None:
    breach = Breach([0.0, 0.0, 0.0, 0.25])
    breach.bet(4, 4, 0.001, 0.0)
    assert breach.value > 100
    breach.spend()
    breach.bet(4, 4, 0.001, 0.0)
    assert breach.value == 0


@LAW
@given(
    steps=st.integers(1, 20),
    hours=st.lists(st.floats(min_value=0, max_value=24), max_size=60),
    checked=st.floats(min_value=0, max_value=1),
)
def test_mass_only_grows_and_stays_within_one_a_day(steps: int, hours: list[float], checked: float) -> None:
    schedule = Schedule(steps)
    for hour in sorted(hours):
        schedule = schedule.with_change(hour * 3600)
    at = checked * DAY_SECONDS
    assert schedule.released(0.0, at) <= schedule.released(0.0, DAY_SECONDS) <= 1 + 1e-9


def test_weight_changes_beyond_the_allowance_bring_no_mass_until_the_next_day() -> None:
    schedule = Schedule(2).with_change(0.0).with_change(10.0)
    assert schedule.with_change(20.0) == schedule
    assert len(schedule.with_change(DAY_SECONDS + 1).changes) == 3


def test_most_of_a_changes_mass_comes_soon() -> None:
    schedule = Schedule(1).with_change(1000.0)
    before, soon = schedule.released(0.0, 1000.0), schedule.released(0.0, 1060.0)
    assert 0.3 * 0.6 < soon - before < 0.6
