from collections.abc import Callable
from itertools import combinations

import pytest

from quanary.quantizer.search.shrink import shrink

RANKED = tuple(f"n{index}" for index in range(20))


def needs(*nodes: str) -> Callable[[tuple[str, ...]], bool]:
    return lambda kept: set(nodes) <= set(kept)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_exactly_what_is_needed_is_left_wherever_it_ranks(count: int) -> None:
    for needed in combinations(RANKED[::3], count):
        assert set(shrink(RANKED, needs(*needed)) or ()) == set(needed)


def test_a_good_ranking_costs_few_questions() -> None:
    asked: list[tuple[str, ...]] = []
    many = tuple(f"n{index}" for index in range(1000))

    def suffices(kept: tuple[str, ...]) -> bool:
        asked.append(kept)
        return set(many[:3]) <= set(kept)

    assert shrink(many, suffices) == many[:3]
    assert len(asked) <= 8


def test_never_are_all_left_in_float() -> None:
    longest = 0

    def suffices(kept: tuple[str, ...]) -> bool:
        nonlocal longest
        longest = max(longest, len(kept))
        return False

    assert shrink(RANKED, suffices) is None
    assert longest == len(RANKED) - 1


def test_what_hurts_only_together_is_found() -> None:
    def suffices(kept: tuple[str, ...]) -> bool:
        return len(set(RANKED) - set(kept)) <= 15

    assert len(shrink(RANKED, suffices) or ()) == 5
