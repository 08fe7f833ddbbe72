"""What a server exports: counters for the controller, histograms for people."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from quanary.server.series import Counter, Histogram
from quanary.wire import metrics as names

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
# A plain number: to find it in its class would cost every request as much as all its counting.
_LATE: Final = HTTPStatus.GATEWAY_TIMEOUT.value


class Metrics:
    """All series of one server. Counted and rendered on the event loop alone, so k and n always agree."""

    def __init__(self, latency_budget_seconds: float, deadline_seconds: float) -> None:
        """Everything at zero."""
        self._budget = latency_budget_seconds
        self._deadline = deadline_seconds
        self.gates = CollectorRegistry()
        self.people = CollectorRegistry()
        self.before_rendering: list[Callable[[], None]] = []  # of those who count some together
        self._requests = self._count(names.REQUESTS, "outcomes of user requests")
        self._errors = self._count(names.ERRORS, "requests answered 5xx, or not at all at the deadline")
        self._over_budget = self._count(names.OVER_BUDGET, "requests slower than the p99 budget")
        self._dropped = self._count(names.COMPARISONS_DROPPED, "sampled answers that could not be compared")
        self._compared = self._count_by_twin(names.COMPARED, "sampled answers compared with the twin's")
        self._mismatched = self._count_by_twin(names.MISMATCHED, "compared answers that differ")
        self._compared_distinct = self._count_by_twin(names.COMPARED_DISTINCT, "compared inputs, each once in an hour")
        self._mismatched_distinct = self._count_by_twin(names.MISMATCHED_DISTINCT, "of those, answers that differ")
        self._slower = self._count_by_twin(names.SLOWER_THAN_TWIN, "compared answers whose model ran longer here")
        self._escalated = self._count(names.ESCALATED, "answers of low confidence given by float, or sent to review")
        self._escalations_refused = self._count(names.ESCALATIONS_REFUSED, "answers of low confidence not escalated")
        self._escalation_refusals = self._count_by_reason(names.ESCALATION_REFUSALS, "escalations refused, by reason")
        self._reviews_lost = self._count_by_reason(names.REVIEWS_LOST, "reviews that the sink will never get")
        self._reviews_waiting = Gauge(names.REVIEWS_WAITING, "reviews not yet sent", registry=self.people)
        edges = names.latency_edges(latency_budget_seconds)
        self._request_duration = self._observe(names.REQUEST_DURATION, "user requests, body read to answer", edges)
        self._execution_duration = self._observe(names.EXECUTION_DURATION, "the model alone", edges)
        self._execution_of_twin = self._observe_by_twin(names.EXECUTION_OF_TWIN, "the twin's model, if compared", edges)
        self._divergence: Histogram | None = None
        self._mismatched_before_escalation = Counter(
            names.MISMATCHED_BEFORE_ESCALATION,
            "compared answers of the models themselves that differ",
            self.people,
            names.TWIN_LABEL,
        )
        self._predictions = Counter(names.PREDICTIONS, "answers to users by class", self.people, names.CLASS_LABEL)

    def describe_model(self, **labels: str) -> None:
        """Say which model this is."""
        gauge = Gauge(names.MODEL_INFO, "the model served", tuple(labels), registry=self.people)
        gauge.labels(**labels).set(1)

    def describe_cpu(self, *, differs: bool) -> None:
        """Say whether the artifact was certified on another kind of CPU than this."""
        Gauge(names.CPU_FEATURES_DIFFER, "whether this CPU is of another kind", registry=self.people).set(differs)

    def count_answer(self, status: int, latency_seconds: float, execution_seconds: float | None) -> None:
        """One outcome, at the moment the answer leaves or the deadline passes."""
        # A timer of the loop may fire a millisecond before its time: who is answered 504 was late all the same.
        is_late = status == _LATE or latency_seconds >= self._deadline
        self._requests.add(1)
        self._request_duration.observe(latency_seconds)
        if status >= 500 or is_late:
            self._errors.add(1)
        if latency_seconds > self._budget or is_late:
            self._over_budget.add(1)
        if execution_seconds is not None:
            self._execution_duration.observe(execution_seconds)

    def count_comparison(self, twin: str, *, is_match: bool, is_slower: bool, is_distinct: bool) -> None:
        """One pair compared with the twin of that short digest."""
        # All five, be it by nothing, so that a ratio never lacks one half.
        self._compared.add(1, twin)
        self._mismatched.add(not is_match, twin)
        self._compared_distinct.add(is_distinct, twin)
        self._mismatched_distinct.add(is_distinct and not is_match, twin)
        self._slower.add(is_slower, twin)

    def observe_pair(
        self, twin: str, *, is_own_match: bool, divergence: float | None, execution_seconds: float | None
    ) -> None:
        """For people: what the two models of a compared pair themselves said, and how long the twin's ran."""
        self._mismatched_before_escalation.add(not is_own_match, twin)
        if divergence is not None and self._divergence is not None:
            self._divergence.observe(divergence, twin)
        if execution_seconds is not None:
            self._execution_of_twin.observe(execution_seconds, twin)

    def measure_divergence(self, limit: float) -> None:
        """From now on there is a divergence, and this is its limit."""
        edges = names.divergence_edges(limit)
        self._divergence = self._observe_by_twin(names.DIVERGENCE, "how far answers to one input are apart", edges)

    def count_predictions(self, said: str, rows: int) -> None:
        """So many answers of that class."""
        self._predictions.add(rows, said)

    def count_dropped(self) -> None:
        """One sampled answer that could not be compared."""
        self._dropped.add(1)

    def count_escalated(self) -> None:
        """One answer given by float instead, or sent to review."""
        self._escalated.add(1)

    def count_escalation_refused(self, reason: str) -> None:
        """One answer of low confidence given all the same."""
        self._escalations_refused.add(1)
        self._escalation_refusals.add(1, reason)

    def count_reviews_lost(self, reason: str, reviews: int = 1) -> None:
        """Reviews that the sink will never get."""
        self._reviews_lost.add(reviews, reason)

    def show_reviews_waiting(self, reviews: int) -> None:
        """How many the sink has not taken yet."""
        self._reviews_waiting.set(reviews)

    def render_gates(self) -> bytes:
        """The counters alone, in the text format."""
        for settle in self.before_rendering:
            settle()
        return generate_latest(self.gates)

    def render_all(self) -> bytes:
        """Counters and histograms."""
        return self.render_gates() + generate_latest(self.people)

    def _count(self, name: str, text: str) -> Counter:
        return Counter(name, text, self.gates)

    def _count_by_twin(self, name: str, text: str) -> Counter:
        return Counter(name, text, self.gates, names.TWIN_LABEL)

    def _count_by_reason(self, name: str, text: str) -> Counter:
        return Counter(name, text, self.people, names.REASON_LABEL)

    def _observe(self, name: str, text: str, edges: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, edges, self.people)

    def _observe_by_twin(self, name: str, text: str, edges: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, edges, self.people, names.TWIN_LABEL)
