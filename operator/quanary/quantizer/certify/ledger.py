"""How often sealed data were opened: every look spends some of the error that they allow.

Data are known by their content, however they are packed. Ledgers from before that name the file instead.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from quanary.wire.report import Opening, RefusedError

LEDGER_FILE: Final = "seal.json"

_OPENINGS: Final = TypeAdapter(tuple[Opening, ...])


def by_content(openings: Iterable[Opening], file_sha256: str, content_sha256: str) -> tuple[Opening, ...]:
    """Those of the file as openings of its content."""
    return merge(
        each.model_copy(update={"data": content_sha256}) if each.data == file_sha256 else each for each in openings
    )


def open_seal(previous: Sequence[Opening], data_sha256: str, artifacts: Sequence[str]) -> Opening:
    """The opening that judging `artifacts` on these data is.

    The same artifacts again are the same opening and cost nothing; judge them in its order. Any other set is a new
    one. Write the ledger before the data are read: a run that is killed has looked all the same.
    """
    same = [each for each in previous if each.data == data_sha256]
    for each in same:
        if frozenset(each.artifacts) == frozenset(artifacts):
            return each
    # Two with one number were made apart, and both have looked.
    number = 1 + max([len(same), *(each.number for each in same)])
    return Opening(data=data_sha256, number=number, artifacts=tuple(artifacts))


def merge(*ledgers: Iterable[Opening]) -> tuple[Opening, ...]:
    """Every opening once, by data and number."""
    openings = {(each.data, each.number, each.artifacts): each for ledger in ledgers for each in ledger}
    return tuple(openings[key] for key in sorted(openings))


def parse_openings(texts: Sequence[str]) -> tuple[Opening, ...]:
    """Openings handed in as JSON.

    Raises:
        RefusedError: one that is none; it is never left out, for that would forget it.
    """
    openings = []
    for text in texts:
        try:
            openings.append(Opening.model_validate_json(text))
        except ValidationError as error:
            allowed = 'as {"data": "SHA256", "number": 1, "artifacts": ["SHA256"]}'
            raise RefusedError("--seal-opening", text, allowed) from error
    return tuple(openings)


def read_ledger(path: Path, handed_in: Sequence[str] = ()) -> tuple[Opening, ...]:
    """Openings in a ledger file, if there is one, and those handed in as JSON.

    Raises:
        RefusedError: one of them is damaged: taking it for empty would forget openings.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return merge(parse_openings(handed_in))
    try:
        written = _OPENINGS.validate_json(content)
    except ValidationError as error:
        allowed = "a whole seal ledger: bring it back from a copy, or use fresh sealed data and another folder"
        raise RefusedError("--out", f"a damaged {path.name}: {error.errors()[0]['msg']}", allowed) from error
    return merge(written, parse_openings(handed_in))


def write_ledger(path: Path, openings: Sequence[Opening]) -> None:
    """Replace the ledger file in one step, on disk before this returns."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        json.dump([each.model_dump(by_alias=True) for each in openings], file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
