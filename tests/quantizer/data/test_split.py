from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.quantizer.data import Content, DataSet, Sample, content_of, distinct, split
from quanary.quantizer.data.split import TUNING_LIMIT
from quanary.wire.report import RefusedError
from tests.quantizer.data.sets import FIELD, numbered, opened
from tests.quantizer.models import save_shards

NOTHING: frozenset[bytes] = frozenset()


def data_of(rows: list[int], groups: list[int] | None = None) -> DataSet:
    """Samples told apart by their number, in two shards."""

    def stream() -> Any:
        for index, row in enumerate(rows):
            shard, first = ("a", 0) if index < len(rows) // 2 else ("b", len(rows) // 2)
            feed = {"x": np.array([[row]], np.float32)}
            yield Sample(shard, index - first, feed, None, f"{groups[index]}".encode() if groups else None)

    half = len(rows) // 2
    counts = (("a", half), ("b", len(rows) - half))
    return DataSet(Path("d"), "0" * 64, FIELD, counts, False, groups is not None, stream)


def rows_of(data: DataSet) -> list[int]:
    return [int(each.feed["x"][0, 0]) for each in data.read()]


def groups_of(data: DataSet) -> set[bytes | None]:
    return {each.group for each in data.read()}


def test_calibration_and_tuning_share_nothing_and_leave_nothing() -> None:
    parts = split(data_of(list(range(60))), 40, NOTHING, NOTHING)
    calibration, tuning = rows_of(parts.calibration), rows_of(parts.tuning)
    assert (len(calibration), len(tuning)) == (40, 20)
    assert sorted(calibration + tuning) == list(range(60))
    assert calibration == sorted(calibration)


def test_a_split_reads_its_samples_from_the_source_again() -> None:
    parts = split(data_of(list(range(60))), 40, NOTHING, NOTHING)
    assert rows_of(parts.calibration) == rows_of(parts.calibration)
    assert parts.calibration.samples == 40
    assert sum(count for _, count in parts.calibration.counts) == 40
    spread = [int(each.feed["x"][0, 0]) for each in parts.calibration.read(4)]
    assert spread == rows_of(parts.calibration)[::10]


def test_a_split_follows_content_and_not_order() -> None:
    order = [int(each) for each in np.random.default_rng(3).permutation(60)]
    first, second = (split(data_of(rows), 30, NOTHING, NOTHING) for rows in (list(range(60)), order))
    assert set(rows_of(first.calibration)) == set(rows_of(second.calibration))
    assert first.calibration.sha256 != first.tuning.sha256
    assert first.calibration.sha256 == split(data_of(list(range(60))), 30, NOTHING, NOTHING).calibration.sha256


@pytest.mark.parametrize(
    ("samples", "wanted", "expected"),
    [
        (12, 512, (8, 4)),  # at least a third tunes
        (300, 512, (200, 100)),
        (700, 512, (466, 234)),
        (1000, 512, (512, 488)),
        (3000, 512, (512, 1000)),  # and at most a thousand
        (3000, 3000, (2000, 1000)),
        (30, 2, (2, 28)),
    ],
)
def test_the_sizes_are_as_promised(samples: int, wanted: int, expected: tuple[int, int]) -> None:
    parts = split(data_of(list(range(samples))), wanted, NOTHING, NOTHING)
    assert (parts.calibration.samples, parts.tuning.samples) == expected
    assert parts.unused == samples - sum(expected)


def test_duplicates_count_once() -> None:
    parts = split(data_of([*range(30), *range(15)]), 20, NOTHING, NOTHING)
    assert sorted(rows_of(parts.calibration) + rows_of(parts.tuning)) == list(range(30))
    assert (parts.duplicates, parts.groups, parts.sealed) == (15, 0, 0)


def test_sealed_samples_are_left_out() -> None:
    sealed = content_of(data_of(list(range(20, 100)))).samples
    parts = split(data_of(list(range(60))), 40, sealed, NOTHING)
    assert sorted(rows_of(parts.calibration) + rows_of(parts.tuning)) == list(range(20))
    assert parts.sealed == 40


def test_groups_stay_together() -> None:
    groups = [each // 5 for each in range(60)]
    parts = split(data_of(list(range(60)), groups), 40, NOTHING, NOTHING)
    assert not groups_of(parts.calibration) & groups_of(parts.tuning)
    assert parts.groups == 12
    assert (parts.calibration.samples, parts.tuning.samples) == (40, 20)


def test_sealed_groups_are_left_out_and_so_are_those_of_a_sealed_sample() -> None:
    """A near-duplicate of a sealed sample is as good as the sample itself."""
    groups = [each // 5 for each in range(60)]
    sealed = content_of(data_of([7])).samples
    parts = split(data_of(list(range(60)), groups), 40, sealed, frozenset({b"3"}))
    used = set(rows_of(parts.calibration) + rows_of(parts.tuning))
    assert used == set(range(60)) - set(range(5, 10)) - set(range(15, 20))
    assert parts.sealed == 10


@pytest.mark.parametrize(
    ("data", "sealed", "found", "needed"),
    [
        (data_of(list(range(11))), [], "11 of 11 samples left", "at least 12 different samples"),
        (data_of([1, 2, 3] * 20), [], "3 of 60 samples left to calibrate and tune on (57 duplicates", "at least 12"),
        (data_of(list(range(60))), list(range(55)), "5 of 60 samples left", "that the sealed set does not have"),
        (data_of(list(range(60)), [1] * 60), [], "60 of 60 samples left", "in groups small enough"),
    ],
)
def test_too_few_samples_are_refused_with_the_number_needed(
    data: DataSet, sealed: list[int], found: str, needed: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        split(data, 512, content_of(data_of([*sealed, 1000])).samples, NOTHING)
    assert caught.value.refusal.field == f"{FIELD}.uri"
    assert found in caught.value.refusal.found
    assert needed in caught.value.refusal.allowed


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 12)), min_size=1, max_size=150),
    st.sets(st.integers(0, 80)),
    st.sets(st.integers(0, 12)),
    st.integers(1, 80),
)
def test_whatever_the_set_its_parts_keep_their_promises(
    samples: list[tuple[int, int]], sealed: set[int], sealed_groups: set[int], wanted: int
) -> None:
    data = data_of([row for row, _ in samples], [group for _, group in samples])
    names = frozenset(f"{each}".encode() for each in sealed_groups)
    content = content_of(data_of(sorted(sealed))).samples if sealed else NOTHING
    try:
        parts = split(data, wanted, content, names)
    except RefusedError:
        return
    calibration, tuning = content_of(parts.calibration), content_of(parts.tuning)
    assert not calibration.samples & tuning.samples
    assert not calibration.group_names & tuning.group_names
    assert not ((calibration.samples | tuning.samples) & content)
    assert not ((calibration.group_names | tuning.group_names) & names)
    assert calibration.duplicates == tuning.duplicates == 0
    assert len(calibration.digests) <= wanted
    assert len(tuning.digests) <= TUNING_LIMIT
    left = len(calibration.digests) + len(tuning.digests) + parts.unused
    assert left + parts.sealed + parts.duplicates == len(samples)


def test_a_set_without_its_duplicates_is_what_a_certificate_counts(tmp_path: Path) -> None:
    rows = np.concatenate([numbered(0, 4), numbered(2, 4)])
    data = opened(save_shards(tmp_path / "d", {"x": rows[:5]}, {"x": rows[5:]}))
    content = content_of(data)
    assert content.duplicates == 2
    once = distinct(data, content)
    assert np.array_equal(np.concatenate([each.feed["x"] for each in once.read()]), numbered(0, 6))
    assert once.counts == (("shard-000.npz", 4), ("shard-001.npz", 2))
    assert distinct(once, content_of(once)) is once


def test_the_content_of_a_set_is_a_few_bytes_a_sample() -> None:
    content = content_of(data_of(list(range(100)), [each % 3 for each in range(100)]))
    assert content == Content(content.digests, content.groups)
    assert {len(each) for each in content.digests} == {32}
    assert len({id(each) for each in content.groups}) == 3
