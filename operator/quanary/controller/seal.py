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
    """The ledger with `news`, each opening once. The highest number of each data set goes last of all.

    Two Jobs that knew nothing of each other may both have been the same number: the later one gets the next.
    """
    merged = list(dict.fromkeys(ledger))
    for each in news:
        if not any(_is_same(each, known) for known in merged):
            merged.append(_numbered(each, merged))
    while len(merged) > LIMIT:
        merged.remove(_least_needed(merged))
    return tuple(merged)


def _is_same(one: SealOpening, other: SealOpening) -> bool:
    return one.data == other.data and frozenset(one.artifacts) == frozenset(other.artifacts)


def _numbered(opening: SealOpening, merged: list[SealOpening]) -> SealOpening:
    taken = {each.number for each in merged if each.data == opening.data}
    return opening.model_copy(update={"number": max(taken) + 1}) if opening.number in taken else opening


def _least_needed(openings: list[SealOpening]) -> SealOpening:
    # The next opening is counted from the highest number: without an older one, its artifacts merely cost one more.
    highest = {each.data: max(other.number for other in openings if other.data == each.data) for each in openings}
    return next((each for each in openings if each.number < highest[each.data]), openings[0])


def earlier_openings(ledger: tuple[SealOpening, ...]) -> tuple[str, ...]:
    """All openings as the quantizer reads them: JSON of `Opening`. It alone knows what is in the data it was given."""
    ordered = sorted(ledger, key=lambda each: (each.data, each.number))
    return tuple(
        Opening(data=each.data, number=each.number, artifacts=each.artifacts).model_dump_json(by_alias=True)
        for each in ordered
    )
