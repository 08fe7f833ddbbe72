"""Answers of the twin, judged and counted some together."""

import asyncio
from typing import Final

import structlog

from quanary.api.names import Variant
from quanary.server.client import Response
from quanary.server.comparison.divergence import Incomparable
from quanary.server.comparison.measure import Measure
from quanary.server.comparison.pairs import Pair
from quanary.server.comparison.sampler import Sampler
from quanary.server.comparison.verdict import Undecided, Verdict, judge
from quanary.server.metrics import Metrics
from quanary.server.tensors import Malformed

# Between two runs of the model nothing of this is in the processor's caches: one alone costs as much as several. But
# users wait while they are judged, so there are few, and small.
TOGETHER: Final = 16
TOGETHER_BYTES: Final = 4096
# Arithmetic on more than this leaves the event loop, where users' requests are.
LARGE_BYTES: Final = 2**16

_log = structlog.get_logger(__name__)


class Tally:
    """What waits is counted before anybody looks at the counts; nothing large waits at all."""

    def __init__(self, measure: Measure, variant: Variant, sampler: Sampler, metrics: Metrics) -> None:
        """Judge answers to `variant`, and count the distinct ones as `sampler` knows them."""
        self._measure = measure
        self._variant = variant
        self._sampler = sampler
        self._metrics = metrics
        self._answers: list[tuple[Pair, str, Response]] = []
        self._bytes = 0
        metrics.before_rendering.append(self.settle)

    async def add(self, pair: Pair, twin: str, answer: Response) -> None:
        """Count it, with others; a large one at once.

        Raises:
            Undecided, Malformed, Incomparable: see `judge`; of a large one.
        """
        if len(answer.body) > LARGE_BYTES:
            self.count(pair, twin, await asyncio.to_thread(judge, pair, answer, self._measure, self._variant))
            return
        self._answers.append((pair, twin, answer))
        self._bytes += len(answer.body)
        if len(self._answers) >= TOGETHER or self._bytes >= TOGETHER_BYTES:
            self.settle()

    def settle(self) -> None:
        """Count all that wait."""
        answers, self._answers, self._bytes = self._answers, [], 0
        for pair, twin, answer in answers:
            try:
                self.count(pair, twin, judge(pair, answer, self._measure, self._variant))
            except (Undecided, Malformed, Incomparable):
                self._metrics.count_dropped()
            except Exception:  # noqa: BLE001  it must not take the others with it
                _log.exception("comparison failed")
                self._metrics.count_dropped()

    def count(self, pair: Pair, twin: str, verdict: Verdict) -> None:
        """One pair, judged."""
        is_new = self._sampler.is_new(twin, pair.key)
        self._metrics.count_comparison(twin, is_match=verdict.is_match, is_slower=verdict.is_slower, is_distinct=is_new)
        self._metrics.observe_pair(
            twin,
            is_own_match=verdict.is_own_match,
            divergence=verdict.divergence,
            execution_seconds=verdict.execution_seconds,
        )
