"""What the answers cost: CPU time, energy and money of this process, read when somebody scrapes."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from quanary.wire import metrics as names
from quanary.wire.energy import Package, joules_between, readable_packages

SECONDS_PER_HOUR: Final = 3600.0
MEASURED: Final = "rapl"  # of whole CPU packages, neighbours included
ESTIMATED: Final = "estimated"  # CPU-seconds times the configured power of a busy core


class Cost(Collector):
    """Counters of one server process. Divide by requests for what one of them costs."""

    def __init__(
        self,
        core_watts: float,
        core_hour_price: float,
        cpu_seconds: Callable[[], float] = time.process_time,
        packages: tuple[Package, ...] | None = None,
    ) -> None:
        """Energy is measured where the CPU counts it, else estimated from `core_watts`; 0 of either: not said."""
        self._watts = core_watts
        self._price = core_hour_price
        self._cpu_seconds = cpu_seconds
        self._packages = readable_packages() if packages is None else packages
        self._energy = self._read()
        self._joules = 0.0

    @override
    def collect(self) -> Iterator[Metric]:
        seconds = self._cpu_seconds()
        yield _counter(names.CPU_SECONDS, "CPU time of this process", seconds)
        if self._packages:
            yield _energy(MEASURED, self._measure())
        elif self._watts:
            yield _energy(ESTIMATED, seconds * self._watts)
        if self._price:
            yield _counter(names.COST, "CPU time at the configured price", seconds / SECONDS_PER_HOUR * self._price)

    def _measure(self) -> float:
        # The counters of a package start anew within hours: scrapes must come more often, and do.
        before, self._energy = self._energy, self._read()
        self._joules += joules_between(self._packages, before, self._energy)
        return self._joules

    def _read(self) -> list[int]:
        return [each.read() for each in self._packages]


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value)


def _energy(source: str, joules: float) -> CounterMetricFamily:
    family = CounterMetricFamily(names.ENERGY, "energy spent while this process ran", labels=(names.SOURCE_LABEL,))
    family.add_metric((source,), joules)
    return family
