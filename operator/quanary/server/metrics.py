"""What a server exports: counters for the controller, histograms for people."""

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from quanary.wire import metrics as names

# Twice the series for nothing that the controller reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class Metrics:
    """All series of one server. Counted and rendered on the event loop alone, so k and n always agree."""

    def __init__(self, latency_budget_seconds: float, deadline_seconds: float) -> None:
        """Everything at zero."""
        self._budget = latency_budget_seconds
        self._deadline = deadline_seconds
        self.gates = CollectorRegistry()
        self.people = CollectorRegistry()
        self._requests = self._count(names.REQUESTS, "outcomes of user requests")
        self._errors = self._count(names.ERRORS, "requests answered 5xx, or not at all at the deadline")
        self._over_budget = self._count(names.OVER_BUDGET, "requests slower than the p99 budget")
        self._dropped = self._count(names.COMPARISONS_DROPPED, "sampled answers that could not be compared")
        self._compared = self._count_by_twin(names.COMPARED, "sampled answers compared with the twin's")
        self._mismatched = self._count_by_twin(names.MISMATCHED, "compared answers that differ in top-1")
        self._compared_distinct = self._count_by_twin(names.COMPARED_DISTINCT, "compared inputs, each once in an hour")
        self._mismatched_distinct = self._count_by_twin(names.MISMATCHED_DISTINCT, "of those, answers that differ")
        self._slower = self._count_by_twin(names.SLOWER_THAN_TWIN, "compared answers whose model ran longer here")
        edges = names.latency_edges(latency_budget_seconds)
        self._request_duration = self._observe(names.REQUEST_DURATION, "user requests, body read to answer", edges)
        self._execution_duration = self._observe(names.EXECUTION_DURATION, "the model alone", edges)

    def describe_model(self, **labels: str) -> None:
        """Say which model this is."""
        gauge = Gauge(names.MODEL_INFO, "the model served", tuple(labels), registry=self.people)
        gauge.labels(**labels).set(1)

    def describe_cpu(self, *, differs: bool) -> None:
        """Say whether the artifact was certified on another kind of CPU than this."""
        Gauge(names.CPU_FEATURES_DIFFER, "whether this CPU is of another kind", registry=self.people).set(differs)

    def count_answer(self, status: int, latency_seconds: float, execution_seconds: float | None) -> None:
        """One outcome, at the moment the answer leaves or the deadline passes."""
        is_late = latency_seconds >= self._deadline
        self._requests.inc()
        self._request_duration.observe(latency_seconds)
        if status >= 500 or is_late:
            self._errors.inc()
        if latency_seconds > self._budget or is_late:
            self._over_budget.inc()
        if execution_seconds is not None:
            self._execution_duration.observe(execution_seconds)

    def count_comparison(self, twin: str, *, is_match: bool, is_slower: bool, is_distinct: bool) -> None:
        """One pair compared with the twin of that short digest."""
        # Every series of a twin appears with its first pair, so that a ratio never lacks one half.
        self._compared.labels(twin).inc()
        self._mismatched.labels(twin).inc(not is_match)
        self._compared_distinct.labels(twin).inc(is_distinct)
        self._mismatched_distinct.labels(twin).inc(is_distinct and not is_match)
        self._slower.labels(twin).inc(is_slower)

    def count_dropped(self) -> None:
        """One sampled answer that could not be compared."""
        self._dropped.inc()

    def render_gates(self) -> bytes:
        """The counters alone, in the text format."""
        return generate_latest(self.gates)

    def render_all(self) -> bytes:
        """Counters and histograms."""
        return generate_latest(self.gates) + generate_latest(self.people)

    def _count(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.gates)

    def _count_by_twin(self, name: str, text: str) -> Counter:
        return Counter(name, text, (names.TWIN_LABEL,), registry=self.gates)

    def _observe(self, name: str, text: str, edges: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, buckets=edges, registry=self.people)
