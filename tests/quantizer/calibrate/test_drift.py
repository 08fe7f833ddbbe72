"""On real inputs: what magika sees of files of installed packages, as tokens, and as floats their byte frequencies."""

import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from e2e.demo.magika import features
from quanary.quantizer.calibrate import judge_held_out
from quanary.quantizer.calibrate.drift import (
    SIZES,
    VALUES_PER_SAMPLE,
    InputValues,
    _psi,
    _shares,
    baselines_of,
    count,
    pick,
)
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array
from quanary.wire.drift import psi
from quanary.wire.report import DriftBaseline

FILES = 900
CALIBRATION = 150
DRAWS = 30  # of live requests, against each baseline
BASELINES = 25

Feed = dict[str, Array]


@cache
def real(suffix: str) -> tuple[Feed, ...]:
    """Tokens int32 [1, 2048] and frequencies float32 [1, 257] of files with that suffix, no two alike."""
    found: dict[bytes, Feed] = {}
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob(f"*{suffix}")):
        tokens = features(path.read_bytes()) if path.stat().st_size else None
        if tokens is not None:
            frequencies = (np.bincount(tokens, minlength=257) / tokens.size).astype(np.float32)
            found[tokens.tobytes()] = {"tokens": tokens[None], "frequencies": frequencies[None]}
        if len(found) == FILES:
            break
    return tuple(found.values())


def baselines(feeds: Sequence[Feed], groups: Sequence[bytes | None] | None = None) -> dict[str, DriftBaseline]:
    values = InputValues.of([pick(feed, number) for number, feed in enumerate(feeds)])
    found = baselines_of(values, np.ones(len(feeds), bool), groups or [None] * len(feeds))
    return {each.input: each for each in found}


def by_bin(baseline: DriftBaseline, feeds: Sequence[Feed]) -> Array:
    """[requests, bins]."""
    bins = len(baseline.counts)
    rows = np.stack([feed[baseline.input].reshape(-1) for feed in feeds])
    places = np.searchsorted(baseline.edges, rows, side="right") + np.arange(len(rows))[:, None] * bins
    return np.bincount(places.reshape(-1), minlength=len(rows) * bins).reshape(-1, bins)


@pytest.mark.parametrize("name", ["tokens", "frequencies"])
def test_unshifted_requests_stay_under_the_threshold(name: str) -> None:
    """Baseline and requests from the same real files, never the same file: at most 1 % above, at every size.

    Now and then a baseline is an unlucky choice of files, and all its sets pass it: at 1 % of baselines, two or more of
    25 have a probability of 2.6 %.
    """
    draw, files = np.random.default_rng(1), real(".py")
    unlucky = {100: 0, 500: 0}
    for _ in range(BASELINES):
        order = draw.permutation(len(files))
        baseline = baselines([{name: files[i][name]} for i in order[:CALIBRATION]])[name]
        counts = by_bin(baseline, [files[i] for i in order[CALIBRATION:]])
        for size in unlucky:
            sets = [counts[draw.choice(len(counts), size, replace=False)].sum(axis=0) for _ in range(DRAWS)]
            limit = baseline.psi_thresholds[size]
            unlucky[size] += float(np.mean([psi(baseline, each.tolist()) > limit for each in sets])) > 0.01
    assert max(unlucky.values()) <= 1


def test_other_kinds_of_files_pass_it() -> None:
    baseline = baselines(real(".py")[:CALIBRATION])["tokens"]
    counts = by_bin(baseline, real(".so")[:100]).sum(axis=0)
    assert psi(baseline, counts.tolist()) > 2 * baseline.psi_thresholds[100]


@pytest.mark.parametrize("gain", [0.25, 4.0])
def test_another_gain_passes_it(gain: float) -> None:
    files = real(".py")
    baseline = baselines(files[:CALIBRATION])["frequencies"]
    louder = [{"frequencies": feed["frequencies"] * np.float32(gain)} for feed in files[CALIBRATION:][:100]]
    assert psi(baseline, by_bin(baseline, louder).sum(axis=0).tolist()) > 2 * baseline.psi_thresholds[100]


def test_limits_that_count_values_as_independent_would_alarm() -> None:
    """Why samples are drawn again, never values: a quarter of unshifted sets pass what as many free values give."""
    files, draw = real(".py"), np.random.default_rng(2)
    baseline = baselines(files[:CALIBRATION])["tokens"]
    shares = np.array(baseline.counts) / sum(baseline.counts)
    free = draw.multinomial(100 * VALUES_PER_SAMPLE, shares, 2000)
    limit = np.quantile(_psi(_shares(np.array([baseline.counts]), CALIBRATION), _shares(free, CALIBRATION)), 0.99)
    counts = by_bin(baseline, files[CALIBRATION:])
    sets = [counts[draw.choice(len(counts), 100, replace=False)].sum(axis=0) for _ in range(100)]
    assert np.mean([psi(baseline, each.tolist()) > limit for each in sets]) > 0.25


def test_the_same_samples_give_the_same_baseline() -> None:
    assert baselines(real(".py")[:50]) == baselines(real(".py")[:50])


def test_bins_are_even_and_hold_what_was_seen() -> None:
    files = real(".py")[:CALIBRATION]
    found = baselines(files)
    for name, baseline in found.items():
        values = np.concatenate([feed[name].reshape(-1) for feed in files])
        assert (baseline.low, baseline.high) == (values.min(), values.max())
        assert len(baseline.counts) == len(baseline.edges) + 1
        assert list(baseline.edges) == sorted(set(baseline.edges))
        assert (baseline.counts[0], baseline.counts[-1]) == (0, 0)
        assert sum(baseline.counts) == CALIBRATION * VALUES_PER_SAMPLE
        assert (count(baseline.edges, values) == by_bin(baseline, files).sum(axis=0)).all()
        whole = count(baseline.edges, values) / values.size
        assert np.abs(whole - np.array(baseline.counts) / sum(baseline.counts)).max() < 0.02
        assert set(baseline.psi_thresholds) == set(SIZES)
        assert baseline.psi_thresholds[100] > baseline.psi_thresholds[500] > 0


def test_a_value_beyond_either_end_has_a_bin_of_its_own() -> None:
    baseline = baselines([{"x": np.array([value], np.float32)} for value in np.linspace(-1, 1, 50)])["x"]
    above = np.nextafter(np.float32(1), np.float32(2))
    ends = count(baseline.edges, np.array([-1.0001, -1, 1, above], np.float32))
    assert (ends[0], ends[-1]) == (1, 1)


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_an_input_that_never_varies_is_watched_all_the_same(value: float, dtype: type[np.generic]) -> None:
    feeds = [{"x": np.full((1, 9), value, dtype)} for _ in range(30)]
    baseline = baselines(feeds)["x"]
    assert (baseline.low, baseline.high, baseline.counts) == (value, value, (0, 270, 0))
    assert psi(baseline, count(baseline.edges, feeds[0]["x"]).tolist()) == 0
    assert psi(baseline, count(baseline.edges, np.full(9, value + 1)).tolist()) > 1
    assert max(baseline.psi_thresholds.values()) == 0


def test_texts_and_booleans_have_no_baseline() -> None:
    feed = {"text": np.array(["a"], object), "flag": np.array([True]), "empty": np.zeros(0, np.float32)}
    assert baselines([feed] * 20) == {}


def test_short_requests_count_with_what_they_have() -> None:
    feeds = [{"x": np.arange(length, dtype=np.int64)} for length in range(1, 41)]
    assert sum(baselines(feeds)["x"].counts) == sum(range(1, 41))


def test_near_duplicates_are_drawn_together_and_widen_the_threshold() -> None:
    files = [feed for feed in real(".py")[:20] for _ in range(8)]
    groups = [bytes([i // 8]) for i in range(len(files))]
    alone, together = baselines(files)["tokens"], baselines(files, groups)["tokens"]
    assert together.psi_thresholds[100] > 3 * alone.psi_thresholds[100]


def test_the_budget_is_three_times_what_is_expected_of_two_ends() -> None:
    draw = np.random.default_rng(3)
    feeds = [{"x": draw.standard_normal(4).astype(np.float32)} for _ in range(99)]
    assert baselines(feeds)["x"].out_of_range_budget == pytest.approx(3 * 2 / 99, rel=0.02)
    few = baselines(feeds[:2])["x"]
    assert few.out_of_range_budget == 1


def test_held_out_samples_set_the_budget() -> None:
    files = real(".py")
    found = tuple(baselines(files[:CALIBRATION]).values())
    usual = judge_held_out(found, [held(feed) for feed in files[CALIBRATION:]])
    for before, after in zip(found, usual, strict=True):
        outside = [
            bool(feed[before.input].min() < before.low or feed[before.input].max() > before.high)
            for feed in files[CALIBRATION:]
        ]
        assert after.out_of_range_budget == max(3 * np.mean(outside), 6 / (CALIBRATION + 1))
    louder = judge_held_out(found, [held({name: array * 9 for name, array in feed.items()}) for feed in files[:40]])
    assert {each.out_of_range_budget for each in louder} == {1.0}
    assert judge_held_out(found, []) == found


def held(feed: Feed) -> Sample:
    """A sample of which only the inputs are looked at."""
    return Sample(shard="held", index=0, feed=feed, label=None)


def test_a_request_with_a_value_that_is_no_number_is_out_of_range() -> None:
    found = baselines([{"x": np.array([value], np.float32)} for value in np.linspace(-1, 1, 50)])
    strange = [held({"x": np.array([np.nan], np.float32)}) for _ in range(8)]
    [judged] = judge_held_out(tuple(found.values()), strange)
    assert judged.out_of_range_budget == 1.0


def test_limits_come_from_the_formula_that_servers_keep_to() -> None:
    files = real(".py")
    baseline = baselines(files[:CALIBRATION])["frequencies"]
    counts = by_bin(baseline, files[CALIBRATION:])
    together = _psi(_shares(np.array([baseline.counts]), CALIBRATION), _shares(counts, CALIBRATION))
    assert together == pytest.approx([psi(baseline, each.tolist()) for each in counts], rel=1e-9)
