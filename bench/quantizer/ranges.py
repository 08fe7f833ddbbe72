"""Which figures leave the range that ranges.toml gives them."""

import tomllib
from collections.abc import Mapping
from pathlib import Path


def broken(figures: Mapping[str, float], ranges: Path) -> list[str]:
    """A line for each; figures without a range are only shown."""
    limits = tomllib.loads(ranges.read_text())
    problems = []
    for name, value in figures.items():
        limit = limits.get(name, {})
        if value < limit.get("at_least", value) or value > limit.get("at_most", value):
            words = " and ".join(f"{word.replace('_', ' ')} {bound}" for word, bound in limit.items())
            problems.append(f"{name} is {value:.3f}; it must be {words}")
    return problems
