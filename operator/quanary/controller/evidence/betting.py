"""Tick-mean bets on "k bad of n" against a budget, in a Shiryaev-Roberts e-detector.

Waudby-Smith & Ramdas (JRSS-B 2023) for the bets, Shin, Ramdas & Rinaldo (NEJSDS 2024) for the detector. A factor is
linear in the tick's bad share k/n, so it is robust to any dependence inside a tick, and its mean is 1 at the budget and
at most 1 on the right side of it. Prior masses over the time of a change sum to at most 1 a day, which makes their
product with the factors one e-process: P(it ever reaches 1/alpha in a day) <= alpha while the rate keeps to the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

# What a breach may look like: the odds of a bad outcome times these, and a third of everything bad outright.
BREACH_ODDS: Final = (1.5, 3.0, 10.0)
BREACH_SHARE: Final = 1 / 3
SAFE_ODDS: Final = (0.25, 0.75)
# A bet never stakes everything: one bad tick must not erase what was gathered.
STAKE_CAP: Final = 0.9

# Far above any threshold; keeps an old breach finite.
BREACH_CEILING: Final = 1e12


def _at_odds(odds: float, budget: float) -> float:
    return odds * budget / (1 - budget + odds * budget)


@lru_cache(maxsize=8192)
def breach_bets(budget: float, n: int) -> tuple[tuple[float, float], ...]:
    """(intercept, slope) in the bad share of each alternative's factor 1 + stake * (k/n/budget - 1)."""
    outright = BREACH_SHARE if budget < BREACH_SHARE else (1 + budget) / 2
    shares = (*(_at_odds(odds, budget) for odds in BREACH_ODDS), outright)
    stakes = [min(STAKE_CAP, n * (share - budget) / (1 - budget)) for share in shares]
    return tuple((1 - stake, stake / budget) for stake in stakes)


@lru_cache(maxsize=8192)
def safety_bets(budget: float, n: int) -> tuple[tuple[float, float], ...]:
    """(intercept, slope) in the bad share of each alternative's factor 1 + stake * (budget - k/n) / (1 - budget)."""
    stakes = [min(STAKE_CAP, n * (budget - _at_odds(odds, budget)) / budget) for odds in SAFE_ODDS]
    return tuple((1 + stake * budget / (1 - budget), -stake / (1 - budget)) for stake in stakes)


class Breach:
    """Evidence that a rate is over its budget; `value` is M, the sum of the alternatives' masses."""

    def __init__(self, masses: Sequence[float] = (0.0,) * (len(BREACH_ODDS) + 1)) -> None:
        self.masses = list(masses)
        self.value = sum(self.masses)

    def bet(self, k: int, n: int, budget: float, mass: float) -> None:
        """One tick: add its prior mass, then multiply by the factors. Without outcomes only the mass is added."""
        part = mass / len(self.masses)
        if n:
            share, bets = k / n, breach_bets(budget, n)
            self.masses = [
                (old + part) * (intercept + slope * share)
                for old, (intercept, slope) in zip(self.masses, bets, strict=True)
            ]
        else:
            self.masses = [old + part for old in self.masses]
        self.value = sum(self.masses)
        if self.value > BREACH_CEILING:
            self.masses = _scaled_to(self.masses, BREACH_CEILING)
            self.value = BREACH_CEILING

    def spend(self) -> None:
        """An alarm was taken: its mass is used up, and only mass released later can raise the next."""
        self.masses = [0.0] * len(self.masses)
        self.value = 0.0


def _even() -> list[float]:
    return [1 / len(SAFE_ODDS)] * len(SAFE_ODDS)


@dataclass
class Safety:
    """Evidence that a rate is within its budget: D, its best, and one begun at the newest weight change."""

    wealth: list[float] = field(default_factory=_even)
    fresh: list[float] = field(default_factory=_even)
    fresh_since: float = 0.0
    best: float = 1.0

    @property
    def value(self) -> float:
        """D."""
        return sum(self.wealth)

    def bet(self, k: int, n: int, budget: float, ceiling: float) -> None:
        """One tick; without outcomes nothing moves."""
        if not n:
            return
        bets = safety_bets(budget, n)
        self.wealth = _multiplied(self.wealth, bets, k / n, ceiling)
        self.fresh = _multiplied(self.fresh, bets, k / n, ceiling)
        self.best = max(self.best, self.value)

    def begin_fresh(self, at: float) -> None:
        """The traffic changed: what is gathered from now on speaks for the new weight."""
        self.fresh, self.fresh_since = _even(), at

    def forgo(self) -> None:
        """Outcomes were lost for good: they may have been bad, so no gain outlives them."""
        self.wealth, self.fresh = _at_most_one(self.wealth), _at_most_one(self.fresh)


def _multiplied(
    wealth: Sequence[float], bets: Sequence[tuple[float, float]], share: float, ceiling: float
) -> list[float]:
    grown = [old * (intercept + slope * share) for old, (intercept, slope) in zip(wealth, bets, strict=True)]
    return _scaled_to(grown, ceiling)


def _at_most_one(wealth: Sequence[float]) -> list[float]:
    return _scaled_to(wealth, 1.0)


def _scaled_to(wealth: Sequence[float], limit: float) -> list[float]:
    total = sum(wealth)
    return [each * limit / total for each in wealth] if total > limit else list(wealth)
