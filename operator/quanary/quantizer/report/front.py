"""The front as a plot: where each artifact lies by speed, drop and size. Pure; the template draws."""

import math
from dataclasses import dataclass
from typing import Final

from quanary.quantizer.report.scale import Scale, Tick, finite, spanning
from quanary.quantizer.report.words import number, times
from quanary.wire.report import FrontFigures, Report, TrialFigures

FRONT_HEIGHT: Final = 340
_LARGEST_RADIUS: Final = 17.0
_SMALLEST_RADIUS: Final = 4.0


@dataclass(frozen=True)
class Bubble:
    """A candidate: speed to the right, drop upwards, area by size."""

    x: float
    y: float
    radius: float
    text: str
    role: str = ""
    is_chosen: bool = False
    is_certified: bool = False
    bound: float | None = None  # y of the upper bound of its drop

    @property
    def anchor(self) -> str:
        """Where its label starts, so that it stays inside."""
        return "end" if self.x > 85 else "start" if self.x < 15 else "middle"


@dataclass(frozen=True)
class FrontChart:
    """Speed against drop: the front's on sealed data with its bound, what else was tried on tuning data."""

    front: tuple[Bubble, ...]
    trials: tuple[Bubble, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    budget: float
    even: float | None  # where INT8 is as fast as float
    undrawn: int
    height: int = FRONT_HEIGHT


def front_chart(report: Report) -> FrontChart | None:
    """None if nothing was searched."""
    members = {each.artifact.sha256 for each in report.front}
    trials = [each for each in (report.search.trials if report.search else ()) if each.sha256 not in members]
    drawn = [each for each in trials if not each.failure and len(finite((each.speedup, each.drop))) == 2]
    if not drawn and not report.front:
        return None
    budget = report.signoff.max_drop
    across = spanning([1.0, *(each.speedup for each in drawn), *(each.artifact.latency_ratio for each in report.front)])
    drops = [0.0, budget, *(each.drop for each in drawn)]
    drops += [drop for each in report.front for drop in _drops(each)]
    heights = _Heights(spanning(drops, margin=0.0, knee=max(budget / 4, 1e-6)), FRONT_HEIGHT)
    return FrontChart(
        front=tuple(_member(each, across, heights, report.artifact.sha256) for each in report.front),
        trials=tuple(_tried(each, across, heights) for each in drawn),
        x_ticks=tuple(Tick(across.at(each), times(each)) for each in across.ticks()),
        y_ticks=tuple(Tick(heights.at(each), number(each)) for each in heights.scale.ticks()),
        budget=heights.at(budget),
        even=across.at(1.0),
        undrawn=len(trials) - len(drawn),
    )


def _drops(entry: FrontFigures) -> tuple[float, float]:
    """On sealed data with its bound; on tuning data for what was not judged any more."""
    if entry.signoff is None:
        return entry.tuning_drop, entry.tuning_drop
    return entry.signoff.drop, entry.signoff.drop_upper_bound


@dataclass(frozen=True)
class _Heights:
    """Upwards, with room for bubbles and labels at both ends."""

    scale: Scale
    height: int

    def at(self, value: float) -> float:
        room = 26
        return round(self.height - room - self.scale.at(value) / 100 * (self.height - 2 * room), 1)


def _member(entry: FrontFigures, across: Scale, heights: _Heights, chosen: str) -> Bubble:
    speed, (drop, bound) = entry.artifact.latency_ratio, _drops(entry)
    return Bubble(
        x=across.at(speed),
        y=heights.at(drop),
        radius=_radius(entry.artifact.size_ratio),
        text=_words(entry.recipe, speed, drop, entry.artifact.size_ratio),
        role=entry.role,
        is_chosen=entry.artifact.sha256 == chosen,
        is_certified=entry.certified,
        bound=heights.at(bound) if math.isfinite(bound) else None,
    )


def _tried(trial: TrialFigures, across: Scale, heights: _Heights) -> Bubble:
    words = _words(trial.recipe, trial.speedup, trial.drop, trial.size_ratio)
    return Bubble(across.at(trial.speedup), heights.at(trial.drop), _radius(trial.size_ratio), words)


def _radius(size_ratio: float) -> float:
    """The area follows the size."""
    share = math.sqrt(min(max(size_ratio, 0.0), 1.0)) if math.isfinite(size_ratio) else 1.0
    return round(max(_SMALLEST_RADIUS, _LARGEST_RADIUS * share), 1)


def _words(recipe: str, speed: float, drop: float, size: float) -> str:
    return f"{recipe}: {number(speed)} times as fast, drop {number(drop)}, size {number(size)}"
