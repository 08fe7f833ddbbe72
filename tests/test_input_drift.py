"""A simulated day of recorded speech from quantizer to controller: the real baseline, watch and evidence, a fast clock.

Calibration and live traffic come from different recordings. What shifts them is what happens to microphones: another
gain, noise.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from e2e.demo import download, speech
from quanary.controller.evidence import Proof, Scrape
from quanary.controller.evidence.gates import Policy
from quanary.wire import metrics as names
from quanary.wire.drift import budget_of_any
from quanary.wire.report import DriftBaseline
from tests.server.drifting import Feed, Watched, baselines_from

START = 1_750_000_000.0
PAIR = "ffffffffff/aaaaaaaaaa"
TICK = 5
PER_SECOND = 2
DAY = 86_400
CALIBRATION_CLIPS, HELD_OUT_CLIPS, LIVE_CLIPS = 120, 40, 200
CALIBRATION, HELD_OUT = 300, 100

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Recorded:
    """Frames of disjoint recordings."""

    calibration: list[Feed]
    held_out: list[Feed]
    live: list[Feed]
    calibration_calls: list[list[Feed]]  # whole ones, frame by frame
    live_calls: list[list[Feed]]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanary" / "demo" / "downloads"
    clips = speech.read_clips(download.speech(cache))
    draw = np.random.default_rng(1)
    parts = (clips[:CALIBRATION_CLIPS], clips[CALIBRATION_CLIPS:][:HELD_OUT_CLIPS], clips[-LIVE_CLIPS:])
    calls = [[frames_of(clip) for clip in part] for part in parts]
    calibration, held_out, live = ([frame for call in part for frame in call] for part in calls)
    few = chosen(draw, calibration, CALIBRATION), chosen(draw, held_out, HELD_OUT)
    return Recorded(*few, live, calls[0], calls[2])


def frames_of(clip: Signal) -> list[Feed]:
    return [{"input": frame} for frame in speech.frames(clip)]


def chosen(draw: np.random.Generator, feeds: list[Feed], count: int) -> list[Feed]:
    return [feeds[i] for i in draw.permutation(len(feeds))[:count]]


@dataclass
class World:
    """A pod that is asked `per_second` times a second and scraped every tick, and the proof that reads it."""

    recorded: Recorded
    baselines: tuple[DriftBaseline, ...] = ()  # by default those of single frames
    per_second: float = PER_SECOND
    seed: int = 1
    requests: int = 0
    ticks: int = 0
    ever_held: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        baselines = self.baselines or baselines_from(self.recorded.calibration, self.recorded.held_out)
        self.watched = Watched(baselines, self.recorded.live[0], seed=self.seed)
        policy = Policy(mismatch=0.02, errors=0.001, latency_seconds=0.06)
        self.policy = replace(policy, input_range=budget_of_any(baselines), input_drift=0.05)
        self.proof = Proof(PAIR, self.policy, START)
        self.draw = np.random.default_rng(self.seed)
        self.scrape()

    @property
    def holding(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.proof.read(START + self.ticks * TICK).holding)

    def scrape(self) -> None:
        self.proof.advance([Scrape(START + self.ticks * TICK, "int8-0", "int8", self.watched.counts())])
        self.ever_held.update(self.holding)

    def tick(self, feeds: Sequence[Feed]) -> None:
        """A tick of traffic drawn from `feeds`."""
        count = int(self.per_second * TICK)
        self.tick_of(feeds[number] for number in self.draw.integers(0, len(feeds), count))

    def tick_of(self, feeds: Iterable[Feed]) -> None:
        """A tick of these."""
        for feed in feeds:
            self.watched.see(feed, 1 / self.per_second)
            self.requests += 1
        self.ticks += 1
        self.scrape()

    def until(self, is_reached: Callable[[], bool], feeds: Sequence[Feed], most: int) -> int:
        """Requests until then; at most `most`."""
        before = self.requests
        while not is_reached():
            assert self.requests - before < most, self.watched.counts()
            self.tick(feeds)
        return self.requests - before


def at_gain(feeds: Sequence[Feed], gain: float) -> list[Feed]:
    return [{"input": feed["input"] * np.float32(gain)} for feed in feeds]


def with_noise(feeds: Sequence[Feed], deviation: float) -> list[Feed]:
    draw = np.random.default_rng(2)
    return [
        {"input": (feed["input"] + draw.normal(0, deviation, feed["input"].shape)).astype(np.float32)} for feed in feeds
    ]


SHIFTS: dict[str, Callable[[Sequence[Feed]], list[Feed]]] = {
    "a tenth of the gain": lambda feeds: at_gain(feeds, 0.1),
    "a quarter of the gain": lambda feeds: at_gain(feeds, 0.25),
    "four times the gain": lambda feeds: at_gain(feeds, 4.0),
    "noise at 30 dB below full scale": lambda feeds: with_noise(feeds, 0.03),
}


def test_a_day_of_unshifted_speech_holds_nothing(recorded: Recorded) -> None:
    """Frames of many calls at once; one call alone is unlike the mix that calibration saw."""
    world = World(recorded)
    for _ in range(DAY // TICK):
        world.tick(recorded.live)
    counts = world.watched.counts()
    assert counts[names.INPUTS_CHECKED] == DAY * PER_SECOND
    assert counts[names.INPUT_WINDOWS] > 1500
    assert world.ever_held == set()


def one_after_another(calls: Sequence[list[Feed]]) -> Iterator[Feed]:
    """Frame by frame, without end."""
    draw = np.random.default_rng(3)
    while True:
        yield from calls[int(draw.integers(len(calls)))]


def test_one_call_after_another_holds_nothing_where_calibration_knows_its_calls(recorded: Recorded) -> None:
    """Neighbours in a call are alike: whole calls as groups tell how far a stretch of them may be from the mix."""
    calls = recorded.calibration_calls
    groups = [str(number).encode() for number, call in enumerate(calls) for _ in call]
    baselines = baselines_from([frame for call in calls for frame in call], groups=groups)
    world = World(recorded, baselines, per_second=10)
    live = one_after_another(recorded.live_calls)
    for _ in range(4 * 3600 // TICK):
        world.tick_of(islice(live, 10 * TICK))
    counts = world.watched.counts()
    assert counts[names.INPUT_WINDOWS] == 72, "longer ones, of 2,000 requests"
    assert "input-drift" not in world.ever_held
    world.until(lambda: "input-drift" in world.holding, at_gain(recorded.live, 0.1), most=16_000)


@pytest.mark.parametrize("shift", SHIFTS.values(), ids=SHIFTS.keys())
def test_shifted_speech_holds_within_a_thousand_requests(
    recorded: Recorded, shift: Callable[[Sequence[Feed]], list[Feed]]
) -> None:
    world = World(recorded)
    for _ in range(3600 // TICK):
        world.tick(recorded.live)
    assert world.holding == ()
    world.until(lambda: bool(world.holding), shift(recorded.live), most=1000)


def test_a_hold_ends_some_time_after_the_speech_is_as_it_was(recorded: Recorded) -> None:
    world = World(recorded)
    quiet = at_gain(recorded.live, 0.1)
    world.until(lambda: bool(world.holding), quiet, most=1000)
    for _ in range(3600 // TICK):
        world.tick(quiet)
    ended_after = world.until(lambda: not world.holding, recorded.live, most=10_000)
    assert ended_after > 1000, "not at once"
    world.ever_held.clear()
    for _ in range(3600 // TICK):
        world.tick(recorded.live)
    assert world.ever_held == set()


def test_at_a_high_rate_it_takes_minutes_not_requests(recorded: Recorded) -> None:
    world = World(recorded, per_second=100.0)
    world.until(lambda: bool(world.holding), at_gain(recorded.live, 0.25), most=100 * 300)
    assert world.ticks * TICK > 60, "one bad window is no evidence"
