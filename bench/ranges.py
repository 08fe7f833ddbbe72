"""Which figures leave the range that a ranges.toml gives them."""

import tomllib
from collections.abc import Mapping
from pathlib import Path


def broken(figures: Mapping[str, float], ranges: Path, prefixes: tuple[str, ...] = ("",)) -> list[str]:
    """A line for each; figures without a range are only shown.

    A figure that has a range and is not there breaks it, if its name begins with one of `prefixes`: those a run is of.
    """
    limits = tomllib.loads(ranges.read_text())
    problems = []
    for name, limit in limits.items():
        words = " and ".join(f"{word.replace('_', ' ')} {bound}" for word, bound in limit.items())
        if name not in figures:
            if name.startswith(prefixes):
                problems.append(f"{name} is missing; it must be {words}")
            continue
        value = figures[name]
        # Written so that NaN, which compares as false, breaks its range.
        if not limit.get("at_least", value) <= value <= limit.get("at_most", value):
            problems.append(f"{name} is {value:.3f}; it must be {words}")
    return problems
