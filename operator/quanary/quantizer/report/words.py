"""Figures and verdicts in words. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from quanary.api.v1alpha1 import Verdict

UNKNOWN: Final = "\N{EN DASH}"
MINUS: Final = "\N{MINUS SIGN}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
SHORT_DIGITS: Final = 10

_TIME_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True)
class Headline:
    """A verdict for somebody who reads nothing else. `tone` picks the colour, never alone: the words say it too."""

    words: str
    advice: str
    tone: str  # good, fair or bad


HEADLINES: Final = {
    Verdict.BENEFICIAL: Headline("Within budget, and it pays", "Ready for the shadow stage.", "good"),
    Verdict.SIZE_ONLY: Headline(
        "Within budget and smaller, but not faster", "Worth it where size is what costs.", "fair"
    ),
    Verdict.INCONCLUSIVE: Headline(
        "Within budget; whether it is faster is open", "Paired times on the serving pods can settle it.", "fair"
    ),
    Verdict.NOT_BENEFICIAL: Headline(
        "Within budget, but no gain on this CPU", "Stay with the float model here.", "fair"
    ),
    Verdict.NOT_CERTIFIABLE: Headline("Too little data to be sure", "More sealed samples can settle it.", "fair"),
    Verdict.OVER_BUDGET: Headline("It loses more than the budget allows", "Stay with the float model.", "bad"),
}


def number(value: float, digits: int = 3) -> str:
    """A figure with so many significant digits, without an exponent where people need none."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if not 1e-5 <= abs(rounded) < 1e7:
        mantissa, _, exponent = f"{rounded:.{digits - 1}e}".partition("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}".replace("-", MINUS)
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return _trimmed(f"{value:,.{places}f}").replace("-", MINUS)


def _trimmed(text: str) -> str:
    """Without the zeros that only fill up digits."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}"


def percent(share: float) -> str:
    """0.586 as `58.6 %`."""
    return f"{number(100 * share)} %" if math.isfinite(share) else UNKNOWN


def times(ratio: float) -> str:
    """A ratio with its sign; 0 was not measured."""
    return f"{number(ratio)}{TIMES}" if math.isfinite(ratio) and ratio > 0 else UNKNOWN


def budget_use(share: float) -> str:
    """How much of the budget the bound takes."""
    if not math.isfinite(share):
        return "The bound is unknown"
    if share <= 0:
        return "Nothing of the budget"
    return f"{number(share, 2)} times the budget" if share > 2 else f"{number(100 * share, 2)} % of the budget"


def seconds(value: float) -> str:
    """In the unit that needs no exponent."""
    if not (math.isfinite(value) and value > 0):
        return UNKNOWN
    scale, unit = next(((each, name) for each, name in _TIME_UNITS if value >= each), _TIME_UNITS[-1])
    return f"{number(value / scale)} {unit}"


def short(digest: str) -> str:
    """Enough of a digest to tell it from others."""
    return digest[:SHORT_DIGITS]


def joined(values: Iterable[str], between: str = ", ") -> str:
    """As plain text, so that it is escaped and cleaned as one."""
    return between.join(map(str, values))


def plural(amount: int, one: str, many: str = "") -> str:
    """`1 sample`, `2 samples`."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"
