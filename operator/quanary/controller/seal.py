"""The ledger of sealed data: which were opened, how often, for which artifacts. It outlives specs and Jobs. Pure."""

from collections.abc import Iterable
from typing import Final

from quanary.api.v1alpha1 import SealOpening
from quanary.wire.report import Opening

LIMIT: Final = 16  # of openings in a status
ARTIFACTS: Final = 8  # of one opening


def opening_of(handed: Opening) -> SealOpening:
    """An opening as the status keeps it."""
    return SealOpening(data=handed.data, number=handed.number, artifacts=handed.artifacts[:ARTIFACTS])


def merge(ledger: tuple[SealOpening, ...], news: Iterable[SealOpening]) -> tuple[SealOpening, ...]:
    """The ledger with `news`, each opening once. The highest number of each data set goes last of all."""
    merged = {(each.data, each.number): each for each in ledger}
    merged |= {(each.data, each.number): each for each in news}
    while len(merged) > LIMIT:
        del merged[_least_needed(tuple(merged))]
    return tuple(merged.values())


def _least_needed(keys: tuple[tuple[str, int], ...]) -> tuple[str, int]:
    # The next opening is counted from the highest number: without an older one, its artifacts merely cost one more.
    highest = {data: max(number for each, number in keys if each == data) for data, _ in keys}
    return next((key for key in keys if key[1] < highest[key[0]]), keys[0])


def earlier_openings(ledger: tuple[SealOpening, ...], data: str) -> tuple[str, ...]:
    """Openings of these sealed data as the quantizer reads them: JSON of `Opening`, by number."""
    of_data = sorted((each for each in ledger if each.data == data), key=lambda each: each.number)
    return tuple(
        Opening(data=each.data, number=each.number, artifacts=each.artifacts).model_dump_json(by_alias=True)
        for each in of_data
    )
