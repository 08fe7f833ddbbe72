"""Seeded traffic for tests of the evidence: pods whose counters grow, and whole days straight into the kernel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from quanary.api.names import Variant
from quanary.controller.evidence import Policy, Scrape
from quanary.controller.evidence.betting import Breach
from quanary.controller.evidence.gates import Gate, fast_gate, gates_of
from quanary.controller.evidence.proof import RETREAT_AT
from quanary.controller.evidence.schedule import DAY_SECONDS, Schedule
from quanary.wire.metrics import (
    COMPARED,
    COMPARED_DISTINCT,
    COMPARISONS_DROPPED,
    ERRORS,
    INPUT_WINDOWS,
    INPUT_WINDOWS_DRIFTED,
    INPUTS_CHECKED,
    INPUTS_OUT_OF_RANGE,
    MISMATCHED,
    MISMATCHED_DISTINCT,
    OVER_BUDGET,
    REQUESTS,
)

START = 1_750_000_000.0
POLICY = Policy(mismatch=0.02, errors=0.001, latency_seconds=0.06)


@dataclass(frozen=True)
class Rates:
    """What one pod sees: requests and comparisons a second, and shares of them."""

    requests: float = 4.0
    errors: float = 0.0
    over_budget: float = 0.0
    compared: float = 2.0
    mismatched: float = 0.0
    distinct: float = 0.8
    dropped: float = 0.0


def history(
    pod: str,
    variant: Variant,
    seconds: int,
    rates: Callable[[float], Rates],
    *,
    seed: int,
    start: float = START,
    base: int = 1000,
) -> list[Scrape]:
    """One pod scraped every second at a phase of its own; its counters stand at `base` when it is first seen."""
    random = np.random.default_rng(seed)
    counters = dict.fromkeys(_grown(random, Rates(requests=0, compared=0)), base)
    at = start - 1 + round(float(random.uniform(0, 1)), 3)
    scrapes = [Scrape(at, pod, variant, dict(counters))]
    for _ in range(seconds):
        at += 1.0
        for name, grown in _grown(random, rates(at - start)).items():
            counters[name] += grown
        scrapes.append(Scrape(at, pod, variant, dict(counters)))
    return scrapes


def _grown(random: np.random.Generator, rates: Rates) -> dict[str, int]:
    requests, compared = random.poisson(rates.requests), random.poisson(rates.compared)
    mismatched = random.binomial(compared, rates.mismatched)
    return {
        REQUESTS: int(requests),
        ERRORS: int(random.binomial(requests, rates.errors)),
        OVER_BUDGET: int(random.binomial(requests, rates.over_budget)),
        COMPARED: int(compared),
        MISMATCHED: int(mismatched),
        COMPARED_DISTINCT: int(random.binomial(compared - mismatched, rates.distinct) + mismatched),
        MISMATCHED_DISTINCT: int(mismatched),
        COMPARISONS_DROPPED: int(random.poisson(rates.dropped)),
    }


def pair_history(rates: Callable[[float], Rates], *, seconds: int, seed: int) -> list[Scrape]:
    """One float and one INT8 pod under the same rates, in order of time."""
    scrapes = [
        *history("float-0", "float", seconds, lambda _: Rates(), seed=seed),
        *history("int8-0", "int8", seconds, rates, seed=seed + 1_000_000),
    ]
    return sorted(scrapes)


Share = Callable[[float], float]  # by seconds since the start


def input_history(
    out: Share, drifted: Share, *, seconds: float, requests: float = 50.0, every: float = 30.0, seed: int = 1
) -> Iterator[Scrape]:
    """An INT8 pod scraped once a tick: `requests` a tick, and a window of them judged `every` so many seconds."""
    random, tick = np.random.default_rng(seed), int(POLICY.tick_seconds)
    counters = dict.fromkeys((INPUTS_CHECKED, INPUTS_OUT_OF_RANGE, INPUT_WINDOWS, INPUT_WINDOWS_DRIFTED), 0)
    yield Scrape(START, "int8-0", "int8", dict(counters))
    for second in range(tick, int(seconds) + 1, tick):
        checked, windows = int(random.poisson(requests)), int(second // every - (second - tick) // every)
        counters[INPUTS_CHECKED] += checked
        counters[INPUTS_OUT_OF_RANGE] += int(random.binomial(checked, out(second)))
        counters[INPUT_WINDOWS] += windows
        counters[INPUT_WINDOWS_DRIFTED] += int(random.binomial(windows, drifted(second)))
        yield Scrape(START + second, "int8-0", "int8", dict(counters))


def is_condemned_within_a_day(policy: Policy, per_second: float, excess: float, seed: int) -> bool:
    """One day of all gates at `excess` times their budgets, with a weight change an hour for the first five hours."""
    random = np.random.default_rng(seed)
    days = [_Day(gate, per_second, excess, random) for gate in gates_of(policy)]
    limit = 1 / policy.alpha
    for tick in range(1, int(DAY_SECONDS / policy.tick_seconds) + 1):
        for day in days:
            if tick % day.every == 0:
                day.bet()
        if sum(day.gate.weight * day.breach.value for day in days) >= limit:
            return True
    return False


def is_retreat_within_a_day(policy: Policy, per_second: float, seed: int) -> bool:
    """One day of the fast kernel at exactly the error budget."""
    day = _Day(fast_gate(policy), per_second, 1.0, np.random.default_rng(seed))
    for _ in range(int(DAY_SECONDS / policy.fast_tick_seconds)):
        day.bet()
        if day.breach.value >= RETREAT_AT:
            return True
    return False


class _Day:
    """A gate's outcomes of one day, drawn at once, and the kernel that bets on them."""

    def __init__(self, gate: Gate, per_second: float, excess: float, random: np.random.Generator) -> None:
        ticks = int(DAY_SECONDS / gate.period_seconds)
        n = random.poisson(per_second * gate.period_seconds, ticks)
        k = random.binomial(n, min(gate.budget * excess, 1.0))
        self.outcomes = iter(zip(k.tolist(), n.tolist(), _masses_of_a_day(gate.period_seconds), strict=True))
        self.gate, self.breach = gate, Breach()
        self.every = max(1, round(gate.period_seconds / POLICY.tick_seconds))

    def bet(self) -> None:
        k, n, mass = next(self.outcomes)
        self.breach.bet(k, n, self.gate.budget, mass)


@cache
def _masses_of_a_day(period_seconds: float) -> list[float]:
    schedule = Schedule(POLICY.steps, tuple(START + 3600 * (i + 1) for i in range(POLICY.steps)))
    ends = [START + (i + 1) * period_seconds for i in range(int(DAY_SECONDS / period_seconds))]
    released = [0.0, *(schedule.released(START, end) for end in ends)]
    return [after - before for before, after in pairwise(released)]
