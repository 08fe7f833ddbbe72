from pathlib import Path

import pytest

from quanary.quantizer.certify.ledger import merge, open_seal, parse_openings, read_ledger, write_ledger
from quanary.wire.report import Opening, RefusedError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
DATA, OTHER = "d" * 64, "e" * 64


def test_the_first_opening_of_some_data_is_number_one() -> None:
    assert open_seal((), DATA, [A, B]) == Opening(data=DATA, number=1, artifacts=(A, B))
    assert open_seal((Opening(data=OTHER, number=3, artifacts=(A,)),), DATA, [A]).number == 1


def test_the_same_artifacts_again_are_the_same_opening() -> None:
    first = open_seal((), DATA, [A, B])
    second = open_seal((first,), DATA, [C])
    assert second.number == 2
    assert open_seal((first, second), DATA, [A, B]) == first
    assert open_seal((first, second), DATA, [B, A]) == first


@pytest.mark.parametrize("artifacts", [[A], [A, C], [A, B, C]])
def test_any_other_set_is_a_new_opening(artifacts: list[str]) -> None:
    first = open_seal((), DATA, [A, B])
    assert open_seal((first,), DATA, artifacts) == Opening(data=DATA, number=2, artifacts=tuple(artifacts))


def test_an_opening_that_was_lost_sight_of_still_counts() -> None:
    assert open_seal((Opening(data=DATA, number=4, artifacts=(A,)),), DATA, [B]).number == 5


def test_a_ledger_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "seal.json"
    assert read_ledger(path) == ()
    openings = (open_seal((), DATA, [A]), Opening(data=OTHER, number=1, artifacts=(B, C)))
    write_ledger(path, openings)
    assert read_ledger(path) == openings
    assert [each.name for each in tmp_path.iterdir()] == ["seal.json"]


@pytest.mark.parametrize(
    "content", ["", "[]]", '[{"data": "x"}]', '{"openings": []}', '[{"data": "x", "number": 0, "artifacts": []}]']
)
def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "seal.json"
    path.write_text(content)
    with pytest.raises(RefusedError, match=r"damaged seal\.json"):
        read_ledger(path)
    assert path.read_text() == content


def test_what_is_handed_in_joins_what_is_written(tmp_path: Path) -> None:
    path, first = tmp_path / "seal.json", open_seal((), DATA, [A])
    write_ledger(path, (first,))
    second = open_seal((first,), DATA, [B])
    both = read_ledger(path, (first.model_dump_json(), second.model_dump_json(by_alias=True)))
    assert both == (first, second)
    assert read_ledger(tmp_path / "none.json", (second.model_dump_json(),)) == (second,)


def test_two_openings_with_one_number_are_both_kept() -> None:
    one, other = (Opening(data=DATA, number=1, artifacts=(each,)) for each in (A, B))
    assert merge([one], [other]) == (one, other)
    assert open_seal(merge([one], [other]), DATA, [C]).number == 3


@pytest.mark.parametrize("text", ["", "{}", '{"data": "x", "number": "one", "artifacts": []}'])
def test_an_opening_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="--seal-opening"):
        parse_openings([text])
