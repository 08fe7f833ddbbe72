"""What a server counts of its inputs against calibration, and what of a report it refuses to watch by."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quanary.quantizer.calibrate.drift import VALUES_PER_SAMPLE
from quanary.server.drift import read_baselines
from quanary.server.drift.window import SIGNIFICANT, VALUES_PER_REQUEST, Bins, window_size
from quanary.wire import metrics as names
from quanary.wire.drift import budget_of_any, psi
from quanary.wire.report import REPORT_LIMIT_BYTES, DriftBaseline
from tests.quantizer.report.reports import full
from tests.server.drifting import Feed, Watched, baselines_from, report_of, signature_of, write_report
from tests.server.models import classifier, digest_of, write
from tests.server.running import Running, running, until

SAMPLES = 150


def normal(count: int, *, seed: int, width: int = 100, mean: float = 0.0) -> list[Feed]:
    draw = np.random.default_rng(seed)
    return [{"x": (mean + draw.standard_normal((1, width))).astype(np.float32)} for _ in range(count)]


CALM = normal(SAMPLES, seed=1)
BASELINES = baselines_from(CALM)
[BASELINE] = BASELINES


def watched(**changes: Any) -> Watched:
    return Watched(BASELINES, CALM[0], **changes)


def counted(*feeds: Feed, seconds: float = 1.0) -> dict[str, int]:
    at = watched()
    for feed in feeds:
        at.see(feed, seconds)
    return at.counts()


def test_requests_like_calibration_are_in_range_and_undrifted() -> None:
    counts = counted(*CALM, *normal(450, seed=2))
    assert counts[names.INPUTS_CHECKED] == 600
    assert counts[names.INPUTS_OUT_OF_RANGE] < 600 * BASELINE.out_of_range_budget
    assert counts[names.INPUT_WINDOWS] == 6
    assert counts[names.INPUT_WINDOWS_DRIFTED] == 0


@pytest.mark.parametrize("value", [BASELINE.low, BASELINE.high])
def test_the_ends_of_the_range_are_in_it_and_what_is_next_to_them_is_not(value: float) -> None:
    end = np.float32(value)
    beyond = np.nextafter(end, np.float32(math.copysign(math.inf, value)))
    inside, outside = (np.full((1, 100), 0, np.float32) for _ in range(2))
    inside[0, 37], outside[0, 37] = end, beyond
    assert counted({"x": inside})[names.INPUTS_OUT_OF_RANGE] == 0
    assert counted({"x": outside})[names.INPUTS_OUT_OF_RANGE] == 1


@pytest.mark.parametrize("rows", [1, 3])
def test_an_end_that_the_type_of_the_input_cannot_hold_is_not_rounded(rows: int) -> None:
    value = np.full((rows, 100), 0.1, np.float32)
    assert value.item(0) > 0.1
    for high, out in ((0.1, rows), (0.2, 0)):
        at = Watched((BASELINE.model_copy(update={"high": high}),), CALM[0])
        at.see({"x": value})
        assert at.counts()[names.INPUTS_OUT_OF_RANGE] == at.of_input(names.INPUT_OUT_OF_RANGE, "x") == out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_out_of_range(value: float) -> None:
    strange = CALM[0]["x"].copy()
    strange[0, 99] = value
    at = watched()
    at.see({"x": strange})
    assert at.counts()[names.INPUTS_OUT_OF_RANGE] == 1
    assert at.of_input(names.INPUT_OUT_OF_RANGE, "x") == 1


def test_each_row_of_a_batch_is_a_request() -> None:
    batch = np.concatenate([CALM[0]["x"], CALM[1]["x"] + 100, CALM[2]["x"], CALM[3]["x"] - 100])
    counts = counted({"x": batch})
    assert (counts[names.INPUTS_CHECKED], counts[names.INPUTS_OUT_OF_RANGE]) == (4, 2)


def test_inputs_that_share_no_batch_are_one_request() -> None:
    feeds = [{"x": feed["x"], "state": np.zeros((2, 5), np.float32)} for feed in CALM]
    at = Watched(baselines_from(feeds), feeds[0])
    at.see({"x": CALM[0]["x"], "state": np.ones((2, 5), np.float32)})
    assert at.counts()[names.INPUTS_CHECKED] == at.counts()[names.INPUTS_OUT_OF_RANGE] == 1
    assert at.of_input(names.INPUT_OUT_OF_RANGE, "state") == 1
    assert at.of_input(names.INPUT_OUT_OF_RANGE, "x") == 0


@pytest.mark.parametrize("shape", [(0, 100), (1, 0)])
def test_a_request_without_values_is_passed_over(shape: tuple[int, int]) -> None:
    assert counted({"x": np.zeros(shape, np.float32)})[names.INPUTS_CHECKED] == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, np.int64])
def test_numbers_of_any_type_are_watched(dtype: type[np.generic]) -> None:
    feeds = [{"x": (feed["x"] * 50).astype(dtype)} for feed in CALM]
    at = Watched(baselines_from(feeds), feeds[0])
    for feed in feeds:
        at.see(feed)
    assert at.counts()[names.INPUTS_OUT_OF_RANGE] == at.counts()[names.INPUT_WINDOWS_DRIFTED] == 0
    at.see({"x": (CALM[0]["x"] * 500).astype(dtype)})
    assert at.counts()[names.INPUTS_OUT_OF_RANGE] == 1


def test_a_shifted_stretch_is_drifted_by_more_than_its_limit() -> None:
    at = watched()
    for feed in normal(100, seed=3, mean=0.8):
        at.see(feed)
    assert at.counts()[names.INPUT_WINDOWS_DRIFTED] == 1
    assert at.of_input(names.INPUT_PSI, "x") > 1


def test_the_gauge_is_psi_over_its_limit() -> None:
    bins = Bins(BASELINE, 100)
    assert bins.limit == max(BASELINE.psi_thresholds[100], SIGNIFICANT) == SIGNIFICANT
    values = normal(100, seed=4, mean=0.3)
    for feed in values:
        bins.add(feed["x"][0])
    places = np.searchsorted(BASELINE.edges, np.concatenate([feed["x"][0] for feed in values]), side="right")
    counts = np.bincount(places, minlength=len(BASELINE.counts))
    assert bins.close() == pytest.approx(psi(BASELINE, counts.tolist()) / SIGNIFICANT)
    assert bins.close() != 0, "an empty stretch is unlike anything"


def test_under_load_a_window_takes_its_time_and_only_some_requests() -> None:
    at = watched()
    feeds = normal(1000, seed=5)
    for feed in feeds:
        at.see(feed, seconds=0.001)
    first = at.counts()[names.INPUT_WINDOWS]
    for feed in feeds * 60:
        at.see(feed, seconds=0.001)
    counts = at.counts()
    assert first == 1, "the first window knows no pace yet"
    assert counts[names.INPUTS_CHECKED] == 61_000, "the range is checked of all"
    assert 2 <= counts[names.INPUT_WINDOWS] <= 4, "a minute holds two of at least 30 s"


def test_memory_does_not_follow_traffic() -> None:
    at = watched()
    large = np.zeros((1, 100_000), np.float32)
    held = []
    for _ in range(1000):
        at.see({"x": large})
        held.append(sum(each.nbytes for each in at.watch._window.bins[0]._pending))
        assert all(each.base is None for each in at.watch._window.bins[0]._pending), "a view keeps the request"
    assert max(held) <= 4096 * 4


def test_nor_does_it_follow_the_number_of_short_requests() -> None:
    feeds: list[Feed] = [{"x": np.array([[value]], np.float32)} for value in np.linspace(-1, 1, SAMPLES)]
    at = Watched(baselines_from(feeds), feeds[0])
    at.watch._window.size = 2000
    held = []
    for feed in feeds * 10:
        at.see(feed)
        held.append(len(at.watch._window.bins[0]._pending))
    assert max(held) < 256


def test_of_many_inputs_one_must_drift_twice_in_a_row() -> None:
    feeds = [{f"x{i}": feed["x"] for i in range(8)} for feed in CALM]
    at = Watched(baselines_from(feeds), feeds[0])
    shifted = [{**feed, "x3": feed["x3"] + np.float32(2)} for feed in feeds[:100]]
    elsewhere = [{**feed, "x5": feed["x5"] + np.float32(2)} for feed in feeds[:100]]
    drifted = []
    for stretch in (shifted, feeds[:100], shifted, elsewhere, elsewhere):
        for feed in stretch:
            at.see(feed)
        drifted.append(at.counts()[names.INPUT_WINDOWS_DRIFTED])
    assert drifted == [0, 0, 0, 0, 1]


def with_thresholds(thresholds: dict[int, float]) -> DriftBaseline:
    return BASELINE.model_copy(update={"psi_thresholds": thresholds})


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [
        ({100: 0.1, 500: 0.01}, {100: 0.2, 500: 0.01}, 100),
        ({100: 0.1, 500: 0.01}, {100: 0.3, 500: 0.1}, 500),
        ({100: 0.9, 500: 0.5}, {100: 0.3, 500: 0.4}, 500),
        ({100: 0.1, 500: 0.01}, {500: 0.01}, 500),
    ],
)
def test_a_window_is_as_short_as_chance_allows(first: dict[int, float], second: dict[int, float], size: int) -> None:
    assert window_size([with_thresholds(first), with_thresholds(second)]) == size


def test_the_budget_of_all_inputs_is_the_sum_of_theirs() -> None:
    each = BASELINE.model_copy(update={"out_of_range_budget": 0.3})
    assert budget_of_any([each] * 3) == pytest.approx(0.9)
    assert budget_of_any([each] * 4) == 1
    assert budget_of_any([]) == 0


DIGEST = "a" * 64


def read(path: Path, digest: str = DIGEST[:10]) -> tuple[DriftBaseline, ...]:
    return read_baselines(path, digest, signature_of(CALM[0]))


def test_the_baselines_of_the_artifact_are_read(tmp_path: Path) -> None:
    assert read(write_report(tmp_path / "report.json", DIGEST, BASELINES)) == BASELINES


def test_those_of_an_artifact_of_the_front_too(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(full().model_copy(update={"drift": BASELINES}).to_json())
    assert [read(path, each.artifact.sha256[:10]) for each in full().front] == [BASELINES] * len(full().front)


@pytest.mark.parametrize("wrong", ["bytes", "name"])
def test_an_input_that_the_model_has_not_is_passed_over(tmp_path: Path, wrong: str) -> None:
    path = write_report(tmp_path / "report.json", DIGEST, BASELINES)
    feed = {"x": np.array([["a"]], object)} if wrong == "bytes" else {"y": CALM[0]["x"]}
    assert read_baselines(path, DIGEST[:10], signature_of(feed)) == ()


def broken(**changes: Any) -> str:
    report = json.loads(report_of(DIGEST, BASELINES).to_json())
    report["drift"][0].update(changes)
    return json.dumps(report)


BROKEN = {
    "nothing": "",
    "no JSON": "{",
    "another document": "[]",
    "deep": "[" * 100_000,
    "a later schema": broken().replace('"schemaVersion": 1', '"schemaVersion": 99'),
    "no baseline": json.dumps({**json.loads(broken()), "drift": []}),
    "edges that fall": broken(edges=[1.0, 0.0], counts=[1, 1, 1]),
    "edges that are none": broken(edges=["NaN", 1.0], counts=[1, 1, 1]),
    "counts that do not fit": broken(counts=[1, 2]),
    "counts below nothing": broken(edges=[0.0], counts=[-1, 2]),
    "counts of nothing": broken(edges=[0.0], counts=[0, 0]),
    "a range upside down": broken(low=2.0, high=1.0),
    "an endless range": broken(high="Infinity"),
    "no threshold": broken(psiThresholds={}),
    "an impossible threshold": broken(psiThresholds={"0": 0.1}),
    "an endless threshold": broken(psiThresholds={"100": "Infinity"}),
    "too many bins": broken(edges=list(range(300)), counts=[1] * 301),
    "too large": " " * (REPORT_LIMIT_BYTES + 1),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_report_is_no_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    assert read(path) == ()


def test_a_report_of_another_artifact_is_no_report(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.json", DIGEST, BASELINES)
    assert read(path, "b" * 10) == read(path, "") == ()
    assert read(tmp_path / "missing.json") == ()


async def ask(server: Running, value: float, url: str = "") -> None:
    assert (await server.infer([value] * 4, url)).status_code == 200


def served(tmp_path: Path) -> tuple[Path, Path]:
    """A model and the report of its calibration on values between -1 and 1."""
    model = write(tmp_path, classifier())
    draw = np.random.default_rng(6)
    feeds = [{"x": draw.uniform(-1, 1, (1, 4)).astype(np.float32)} for _ in range(SAMPLES)]
    return model, write_report(tmp_path / "report.json", digest_of(model), baselines_from(feeds))


async def test_a_server_watches_what_users_and_twins_ask(tmp_path: Path) -> None:
    model, report = served(tmp_path)
    async with running(model, variant="int8", report=str(report)) as server:
        await ask(server, 0.5)
        await ask(server, 7.0)
        await ask(server, 7.0, server.twin_url)
        counts = await server.counted("inputs_checked", 3)
        assert counts["inputs_out_of_range"] == 2
        assert counts["input_windows"] == counts["input_windows_drifted"] == 0
        assert counts["requests"] == 2
        assert (await server.counts("metrics"))["input_out_of_range"] == 2
        for _ in range(100):
            await ask(server, 0.999)
        counts = await server.counted("input_windows")
        assert counts["input_windows_drifted"] == 1
        assert (await server.counts("metrics"))["input_psi_ratio"] > 1


@pytest.mark.parametrize("case", ["broken", "missing", "float", "none"])
async def test_without_a_fit_report_a_server_serves_and_counts_nothing_of_inputs(tmp_path: Path, case: str) -> None:
    model, report = served(tmp_path)
    if case == "broken":
        report.write_text("{")
    if case == "missing":
        report.unlink()
    variant, path = "float" if case == "float" else "int8", "" if case == "none" else str(report)
    async with running(model, variant=variant, report=path) as server:
        await ask(server, 7.0)
        await until(lambda: has_requests(server))
        assert not any(name.startswith("input") for name in await server.counts("metrics"))


async def has_requests(server: Running) -> bool:
    return (await server.counts()).get("requests", 0) == 1


def test_a_request_is_looked_at_no_less_closely_than_a_sample_was() -> None:
    assert VALUES_PER_REQUEST >= VALUES_PER_SAMPLE, "fewer values would vary more than the thresholds allow"
