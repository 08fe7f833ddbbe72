"""From figures to places on an axis, in percent of its width, so that one drawing fits every screen. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# Steps that people count in.
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
_DECADES = range(-6, 7)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`; linear, or with `knee` linear near zero and logarithmic far from it."""

    low: float
    high: float
    knee: float = 0.0

    def at(self, value: float) -> float:
        """Percent of the way, at most to the ends; what is no number is at the start."""
        if math.isnan(value):
            return 0.0
        low, high = self._bent(self.low), self._bent(self.high)
        if not low < high:
            return 0.0
        share = (self._bent(min(max(value, self.low), self.high)) - low) / (high - low)
        return round(100 * share, 3)

    def _bent(self, value: float) -> float:
        return math.asinh(value / self.knee) if self.knee else value

    def ticks(self, wanted: int = 5) -> tuple[float, ...]:
        """Round figures on the axis, about as many as wanted."""
        return self._bent_ticks() if self.knee else self._linear_ticks(wanted)

    def _linear_ticks(self, wanted: int) -> tuple[float, ...]:
        rough = (self.high - self.low) / max(1, wanted)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in _NICE if power * each >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(round(index * step, 12) for index in range(first, last + 1))

    def _bent_ticks(self) -> tuple[float, ...]:
        """Zero, powers of ten and their halves, those that do not lie on one another."""
        found: list[float] = []
        for each in (0.0, *(part * 10.0**power for power in _DECADES for part in (0.5, 1.0))):
            apart = not found or self.at(each) - self.at(found[-1]) >= 9
            if self.low <= each <= self.high and apart:
                found.append(each)
        return tuple(found)


def finite(values: Iterable[float]) -> list[float]:
    """Those that can be drawn."""
    return [each for each in values if math.isfinite(each)]


def spanning(values: Iterable[float], margin: float = 0.06, knee: float = 0.0) -> Scale:
    """A scale over all finite values with a margin at both ends; over 0 to 1 if there are none."""
    drawn = finite(values) or [0.0, 1.0]
    low, high = min(drawn), max(drawn)
    # Far beyond what a model can show, and differences of such figures overflow.
    low, high = max(low, -1e30), min(high, 1e30)
    width = (high - low) or abs(high) or 1.0
    # A knee too small for its axis would bend all of it into the ends.
    bend = max(knee, 1e-9 * max(abs(low), abs(high))) if knee else 0.0
    return Scale(low - margin * width, high + margin * width, bend)
