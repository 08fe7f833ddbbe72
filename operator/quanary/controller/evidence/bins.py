"""Raw counters of pods into counts per bin, by the samples' own timestamps.

Bin i covers ((i - 1) * width, i * width] since the epoch. It closes as soon as every live pod has a sample at or after
its end, judged by the samples' time and never by a clock: so a replay closes the same bins as the live path did.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from quanary.api.names import Variant
from quanary.controller.evidence.gates import PodTallies, Tally

STALE_SECONDS: Final = 3.0
STALE_SCRAPES: Final = 3
# Longer holes are not bridged: too much may have happened to pods that nobody saw.
LONGEST_HOLE_SECONDS: Final = 600.0
# The same for a proof that knows no pod yet (it was just restored): its history should reach back to where it stopped.
LONGEST_HOLE_AFTER_RESTORE_SECONDS: Final = 10.0
POD_MEMORY_SECONDS: Final = 3600.0


class Scrape(NamedTuple):
    """One pod's counters at one instant, all from one scrape; comparison counters are those of the pair alone."""

    at: float  # seconds since the epoch
    pod: str
    variant: Variant
    counters: Mapping[str, int]


@dataclass
class Pod:
    """What was last seen of a pod."""

    variant: Variant
    at: float
    counters: Mapping[str, int]
    gaps: tuple[float, float]  # seconds between its last scrapes

    @property
    def patience(self) -> float:
        """Seconds without a sample after which it is silent. One missed scrape does not stretch it."""
        return max(STALE_SECONDS, STALE_SCRAPES * min(self.gaps))


class Bins:
    """Open bins, and what is needed to difference the next samples."""

    def __init__(self, width: float, origin: float) -> None:
        self.width = width
        self.pods: dict[str, Pod] = {}
        self._open: dict[int, dict[str, Tally]] = {}
        self.restart(origin)

    def restart(self, origin: float) -> None:
        """Begin at `origin`: samples up to it are only the base of later differences."""
        self.origin = origin
        self.closed = math.floor(origin / self.width + 1e-9)
        self.pods.clear()
        self._open.clear()

    @property
    def closed_at(self) -> float:
        """End of the last closed bin; never before the origin."""
        return max(self.origin, self.closed * self.width)

    def unseen(self, scrapes: Iterable[Scrape]) -> list[Scrape]:
        """Those newer than what is known of their pods, in order of time."""
        return sorted(
            (each for each in scrapes if each.pod not in self.pods or each.at > self.pods[each.pod].at),
            key=lambda each: (each.at, each.pod),
        )

    def is_hole(self, first: float) -> bool:
        """Whether the time up to the first unseen sample is lost."""
        longest = LONGEST_HOLE_SECONDS if self.pods else LONGEST_HOLE_AFTER_RESTORE_SECONDS
        return first - self.closed_at > longest

    def add(self, scrape: Scrape) -> None:
        """Count what a pod did since its previous scrape."""
        pod = self.pods.get(scrape.pod)
        if pod is None:
            # A pod's first sample is only a base: what it counted before may be older than the proof. A counter that
            # appears later on a known pod counts from 0.
            self.pods[scrape.pod] = Pod(scrape.variant, scrape.at, scrape.counters, (self.width, self.width))
            return
        if scrape.at <= pod.at:
            return
        if scrape.at > self.origin:
            self._count(scrape, pod)
        pod.gaps = (pod.gaps[1], scrape.at - pod.at)
        pod.at, pod.counters = scrape.at, {**pod.counters, **scrape.counters}

    def _count(self, scrape: Scrape, pod: Pod) -> None:
        # A sample that comes after its bin closed goes into the next: late, but not lost.
        index = max(math.ceil(scrape.at / self.width - 1e-9), self.closed + 1)
        tally = self._open.setdefault(index, {}).setdefault(scrape.pod, {})
        # A counter that fell was reset with its process, and all others with it, also those above their old value.
        is_reset = any(value < pod.counters.get(name, 0) for name, value in scrape.counters.items())
        for name, value in scrape.counters.items():
            grown = value if is_reset else value - pod.counters.get(name, 0)
            if grown:
                key = (pod.variant, name)
                tally[key] = tally.get(key, 0) + grown

    def close(self) -> Iterator[tuple[int, PodTallies]]:
        """Index and counts by pod of each bin that closes now and holds any, in order."""
        if not self.pods:
            return
        newest = max(pod.at for pod in self.pods.values())
        self.pods = {name: pod for name, pod in self.pods.items() if newest - pod.at < POD_MEMORY_SECONDS}
        frontier = min(pod.at for pod in self.pods.values() if newest - pod.at <= pod.patience)
        last = max(self.closed, math.floor(frontier / self.width + 1e-9))
        self.closed = last
        for index in sorted(each for each in self._open if each <= last):
            yield index, self._open.pop(index)

    def is_silent(self, variant: Variant, now: float) -> bool:
        """Whether no pod of this variant has a fresh sample."""
        return not any(pod.variant == variant and now - pod.at <= pod.patience for pod in self.pods.values())
