"""Counters and histograms for the event loop alone: without locks, a fraction of the cost of prometheus_client's own.

Every user's request pays for them. What they hold is exported the way that prometheus_client has for others' series.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override


class Counter(Collector):
    """How often something happened: one number, or with labels one for each of their values seen so far."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry, *labels: str) -> None:
        """At zero, in `registry` as `name`, which ends in `_total`."""
        self._name, self._text, self._labels = name, text, labels
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        if not labels:
            self.add(0)
        registry.register(self)

    def add(self, amount: int, *values: str) -> None:
        """So many more, of these values of the labels."""
        self._counts[values] += amount

    @override
    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class Histogram(Collector):
    """How large something was: observations by the edges they are not above, and their sum; labels as a counter's."""

    def __init__(self, name: str, text: str, edges: Sequence[float], registry: CollectorRegistry, *labels: str) -> None:
        """Empty, in `registry` as `name`; `edges` ascend from above 0."""
        self._name, self._text, self._labels = name, text, labels
        self._edges = edges
        self._counts: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * (len(edges) + 1))
        self._sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
        if not labels:
            self._counts[()] = [0] * (len(edges) + 1)
        registry.register(self)

    def observe(self, size: float, *values: str) -> None:
        """One more, of these values of the labels."""
        self._counts[values][bisect_left(self._edges, size)] += 1
        self._sums[values] += size

    @override
    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        ends = [*(str(float(edge)) for edge in self._edges), "+Inf"]
        for values, counts in self._counts.items():
            family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), self._sums[values])
        yield family
