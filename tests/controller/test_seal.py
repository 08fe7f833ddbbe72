"""The ledger of sealed data."""

from quanary.api.v1alpha1 import SealOpening
from quanary.controller.seal import LIMIT, earlier_openings, merge, opening_of
from quanary.wire.report import Opening

DATA, OTHER = "d" * 64, "e" * 64


def opening(number: int, data: str = DATA, *artifacts: str) -> SealOpening:
    return SealOpening(data=data, number=number, artifacts=artifacts or ("a" * 64,))


def test_the_same_opening_again_is_one() -> None:
    assert merge((opening(1),), [opening(1), opening(1)]) == (opening(1),)


def test_other_artifacts_or_other_data_are_others() -> None:
    second = opening(2, DATA, "b" * 64)
    assert merge((opening(1),), [second, opening(1, OTHER)]) == (opening(1), second, opening(1, OTHER))


def test_two_openings_of_one_number_are_both_kept_however_often_they_are_heard() -> None:
    both = merge((opening(1),), [opening(1, DATA, "b" * 64)])
    assert both == (opening(1), opening(2, DATA, "b" * 64))
    assert merge(both, [opening(1, DATA, "b" * 64), opening(1)]) == both


def test_a_full_ledger_keeps_the_highest_number_of_every_data_set() -> None:
    many = tuple(opening(number) for number in range(1, LIMIT + 1))
    kept = merge(many, [opening(1, OTHER)])
    assert len(kept) == LIMIT
    assert opening(1) not in kept
    assert {opening(LIMIT), opening(1, OTHER)} <= set(kept)


def test_of_many_data_sets_the_oldest_goes() -> None:
    many = tuple(opening(1, f"{number:064x}") for number in range(LIMIT))
    kept = merge(many, [opening(1, DATA)])
    assert len(kept) == LIMIT
    assert many[0] not in kept


def test_the_quantizer_hears_of_every_opening_in_order() -> None:
    ledger = (opening(2), opening(1, OTHER), opening(1))
    heard = [Opening.model_validate_json(each) for each in earlier_openings(ledger)]
    assert [(each.data, each.number) for each in heard] == [(DATA, 1), (DATA, 2), (OTHER, 1)]
    assert opening_of(heard[0]) == opening(1)


def test_more_artifacts_than_a_status_holds_are_cut() -> None:
    many = tuple(f"{number:064x}" for number in range(9))
    assert opening_of(Opening(data=DATA, number=1, artifacts=many)).artifacts == many[:8]
