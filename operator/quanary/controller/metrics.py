"""The operator's own series, for people and alerts."""

import time
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RECONCILE_EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Clock:
    """Seconds since something last succeeded, or since the process began."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at = now()
        self.has_succeeded = False

    def succeeded(self) -> None:
        """It succeeded just now."""
        self._at = self._now()
        self.has_succeeded = True

    def seconds(self) -> float:
        """Seconds since then."""
        return self._now() - self._at


class Metrics:
    """All series of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.list_clock = Clock()
        self.queue_depth = Gauge("quanary_queue_depth", "Models waiting to be reconciled.", registry=self.registry)
        self.reconcile_seconds = Histogram(
            "quanary_reconcile_seconds",
            "Time of one reconcile.",
            ["result"],
            buckets=RECONCILE_EDGES,
            registry=self.registry,
        )
        self.decisions = Counter(
            "quanary_decisions", "Decisions by the stage they chose.", ["stage"], registry=self.registry
        )
        self.rollbacks = Counter(
            "quanary_rollbacks", "Artifacts condemned, by the gate that did it.", ["reason"], registry=self.registry
        )
        Gauge(
            "quanary_seconds_since_list", "Age of the last full list of the cluster.", registry=self.registry
        ).set_function(self.list_clock.seconds)
        # Whoever queries says how long ago that was.
        self.seconds_since_query = Gauge(
            "quanary_seconds_since_query", "Age of the last successful query of Prometheus.", registry=self.registry
        )
