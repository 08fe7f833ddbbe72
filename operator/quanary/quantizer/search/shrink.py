"""The smallest set of layers to leave in float: rank, grow and bisect, then give back what is not needed."""

from collections.abc import Callable, Sequence

Suffices = Callable[[tuple[str, ...]], bool]


def shrink(ranked: Sequence[str], suffices: Suffices) -> tuple[str, ...] | None:
    """Of `ranked` nodes, the worst first, the fewest that must stay in float; None if even all but one do not suffice.

    A ranking alone leaves up to five times too many: nodes are judged one at a time, but hurt together. So after the
    bisection over its length, chunks of the set are given back to INT8 (delta debugging, Zeller and Hildebrandt, 2002).
    """
    count = _shortest(ranked, suffices)
    return None if count is None else _give_back(tuple(ranked[:count]), suffices)


def _shortest(ranked: Sequence[str], suffices: Suffices) -> int | None:
    """The shortest prefix that suffices, at most all but one."""
    low, high = 0, 1
    while not suffices(tuple(ranked[:high])):
        if high >= len(ranked) - 1:
            return None
        low, high = high, min(2 * high, len(ranked) - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(tuple(ranked[:middle])) else (middle, high)
    return high


def _give_back(kept: tuple[str, ...], suffices: Suffices) -> tuple[str, ...]:
    size = len(kept) // 2
    while size:
        # The least harmful are last: they are given back first.
        for start in range((len(kept) - 1) // size * size, -1, -size):
            fewer = kept[:start] + kept[start + size :]
            if fewer and suffices(fewer):
                kept = fewer
        size //= 2
    return kept
