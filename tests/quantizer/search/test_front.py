import pytest

from quanary.quantizer.recipe import Approach, Recipe
from quanary.quantizer.search.front import Worth, front_of
from quanary.quantizer.search.trial import Trial

BUDGET = 0.02


def trial(speedup: float, size: float, drop: float, divergence: float, *kept: str, failure: str = "") -> Trial:
    recipe = Recipe(kept_float=kept or (f"user-{speedup}-{size}-{drop}",))
    sha256 = f"{speedup} {size} {drop} {kept}"
    in_budget = drop <= BUDGET / 2
    return Trial(recipe, None, sha256, drop, divergence, size, speedup, in_budget=in_budget, failure=failure)


CORE = trial(3.0, 0.58, 0.03, 0.5)
ONE = trial(1.8, 0.70, 0.016, 0.2, "a", "b")
TWO = trial(1.3, 0.86, 0.005, 0.05, "a", "b", "c")
FOUR = trial(1.1, 0.95, 0.0, 0.001, "a", "b", "c", "d")
WIDE = trial(0.9, 0.58, 0.002, 0.01)
FAILED = trial(9.0, 0.1, 0.0, 0.0, failure="it does not load")


def roles(*trials: Trial, objective: str = "latency") -> dict[str, str]:
    return {each.sha256: each.role for each in front_of(trials, objective, BUDGET)}


def test_the_front_has_the_fastest_the_smallest_and_safer_ones() -> None:
    front = front_of([CORE, TWO, FOUR, WIDE, FAILED], "latency", BUDGET)
    assert [(each.sha256, each.role) for each in front] == [
        (FOUR.sha256, "safest"),
        (WIDE.sha256, "smallest"),
        (TWO.sha256, "fastest"),
    ]


def test_one_within_the_budget_but_without_margin_comes_last_and_costs_the_others_nothing() -> None:
    front = front_of([CORE, ONE, TWO, FOUR, WIDE], "latency", BUDGET)
    assert [each.sha256 for each in front] == [FOUR.sha256, WIDE.sha256, TWO.sha256, ONE.sha256]
    assert [each.role for each in front] == ["safest", "smallest", "safer", "fastest"]
    assert not front[-1].in_budget


def test_what_is_over_budget_is_in_no_front_that_has_others() -> None:
    assert CORE.sha256 not in roles(CORE, ONE, TWO)


def test_with_nothing_in_budget_the_front_is_the_least_harmful() -> None:
    worse = trial(4.0, 0.5, 0.4, 2.0)
    assert roles(worse, CORE, FAILED) == {CORE.sha256: "fastest"}


def test_nothing_made_is_no_front() -> None:
    assert front_of([FAILED], "latency", BUDGET) == ()


def test_of_equally_fast_ones_the_safer_is_the_fastest() -> None:
    near = trial(1.32, 0.86, 0.009, 0.3, "x")
    assert roles(near, TWO)[TWO.sha256] == "fastest"
    assert near.sha256 not in roles(near, TWO)


def test_one_that_is_neither_faster_nor_smaller_than_float_is_no_safer_choice() -> None:
    useless = trial(0.99, 1.0, 0.0, 0.0, "a", "b", "c", "d")
    assert useless.sha256 not in roles(TWO, useless)


def test_beside_the_best_only_what_is_worth_rolling_out_is_certified() -> None:
    slow = trial(1.0, 0.88, 0.0, 0.001, "a", "b", "c", "d")
    assert slow.sha256 not in roles(TWO, slow)
    assert slow.sha256 in {each.sha256 for each in front_of([TWO, slow], "latency", BUDGET, Worth(1.0, 0.25))}
    assert slow.sha256 in {each.sha256 for each in front_of([TWO, slow], "latency", BUDGET, Worth(1.1, 0.1))}
    assert roles(slow) == {slow.sha256: "fastest"}, "the best stays, for the verdict to be about it"


def test_the_objective_decides_which_is_best() -> None:
    small = trial(0.8, 0.26, 0.004, 0.02)
    assert roles(small, TWO, objective="size")[small.sha256] in {"smallest", "safest"}
    assert roles(small, TWO)[TWO.sha256] == "fastest"


@pytest.mark.parametrize("objective", ["latency", "size"])
def test_a_front_is_ordered_by_harm_and_never_longer_than_four(objective: str) -> None:
    many = [trial(1 + i / 10, 0.9 - i / 40, i / 2000, i / 100, *map(str, range(20 - i))) for i in range(1, 20)]
    front = front_of([*many, ONE], objective, BUDGET)
    harm = [(each.drop, each.divergence) for each in front]
    assert harm == sorted(harm)
    assert 2 <= len(front) <= 4
    assert len({each.sha256 for each in front}) == len(front)


def test_one_file_is_one_entry() -> None:
    twin = Trial(Recipe(approach=Approach.DYNAMIC), None, TWO.sha256, 0.005, 0.05, 0.86, 1.3, in_budget=True)
    assert len(front_of([TWO, twin], "latency", BUDGET)) == 1
