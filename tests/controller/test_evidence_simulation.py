"""What the guarantees come to over whole days, by the real kernel on seeded traffic."""

from dataclasses import replace

import pytest

from tests.controller.simulation import POLICY, is_condemned_within_a_day, is_retreat_within_a_day

DAYS = 100
RETREAT_DAYS = 30


@pytest.mark.parametrize("per_second", [4.0])
def test_at_exactly_the_budget_at_most_one_day_in_a_hundred_condemns(per_second: float) -> None:
    condemned = sum(is_condemned_within_a_day(POLICY, per_second, 1.0, seed) for seed in range(DAYS))
    # At a true 1 %, 4 or more of 100 have a probability of 1.8 %.
    assert condemned <= 3


def test_at_twice_the_budget_every_day_condemns() -> None:
    assert all(is_condemned_within_a_day(POLICY, 4.0, 2.0, seed) for seed in range(5))


def test_at_exactly_the_budget_few_days_retreat() -> None:
    policy = replace(POLICY, errors=0.001)
    retreats = sum(is_retreat_within_a_day(policy, 4.0, seed) for seed in range(RETREAT_DAYS))
    # The bound is 10 %; at that, 7 or more of 30 have a probability of 2.6 %.
    assert retreats <= 6
