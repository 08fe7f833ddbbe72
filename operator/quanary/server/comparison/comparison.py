"""The comparison with the twin: answers that users got, asked again in the background of the other variant.

A user's answer is never delayed or failed by it: the queue is bounded in length and bytes, and what does not fit is
dropped and counted. A refused connection means that there is no twin now; that is neither an error nor a drop.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import structlog

from quanary.api.names import Variant
from quanary.server.ask import TwinConnection
from quanary.server.client import Broken, Response, Unreachable
from quanary.server.comparison.divergence import Incomparable
from quanary.server.comparison.measure import Measure
from quanary.server.comparison.pairs import Pair, Question, Waiting
from quanary.server.comparison.sampler import Sampler
from quanary.server.comparison.tally import Tally
from quanary.server.comparison.twin import CONNECTION_SECONDS, Twin
from quanary.server.comparison.verdict import Undecided, Verdict, digest_of
from quanary.server.data_plane import Inference
from quanary.server.messages import Signature, write_request
from quanary.server.metrics import Metrics
from quanary.server.tensors import Malformed
from quanary.wire.inference import ASKER_HEADER, HEADER_LENGTH, HOPS_HEADER

ASKERS: Final = 4
# A user's server asks its twin, and that may ask its own; never more.
HOPS_LIMIT: Final = 2
# The part of a deadline that a question may wait for its turn at the twin, before the twin's own deadline runs.
TURN_SHARE: Final = 0.5
# Only a twin that is stuck takes longer than both.
GRACE_SECONDS: Final = 1.0
PROBE_PATH: Final = "/v2/health/live"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TwinSettings:
    """Whom to ask, for which model, in whose name, and how long to wait."""

    url: str
    name: str
    variant: Variant
    digest: str  # own, short
    deadline_seconds: float


class Comparison:
    """Sampled answers, a bounded queue and a few askers."""

    def __init__(
        self, settings: TwinSettings, signature: Signature, measure: Measure, sampler: Sampler, metrics: Metrics
    ) -> None:
        """Compare by `measure` what `sampler` picks."""
        self._settings = settings
        self._path = f"/v2/models/{quote(settings.name, safe='')}/infer"
        self._patience_seconds = settings.deadline_seconds * (1 + TURN_SHARE) + GRACE_SECONDS
        self._signature = signature
        self._measure = measure
        self._sampler = sampler
        self._metrics = metrics
        self._waiting = Waiting()
        self._twin = Twin()
        self._tally = Tally(measure, settings.variant, sampler, metrics)

    def see(self, inference: Inference) -> None:
        """Take a user's answer that has left, if it is sampled and a twin may be there."""
        if not self._twin.is_absent and (key := self._sampler.pick(inference.inputs)) is not None:
            self._offer(inference, key, self._settings.digest, hops=1)

    def relay(self, inference: Inference) -> None:
        """Take a question of a twin: this server's answer to it is compared with its own twin's, if that is another.

        So a candidate is asked what users ask of the stable INT8, even when float itself gets no users.
        """
        is_asker_itself = inference.asker == self._twin.digest
        if not self._twin.is_absent and 0 < inference.hops < HOPS_LIMIT and inference.asker and not is_asker_itself:
            self._offer(inference, self._sampler.key(inference.inputs), inference.asker, inference.hops + 1)

    def _offer(self, inference: Inference, key: int, asker: str, hops: int) -> None:
        if self._twin.is_busy:
            self._metrics.count_dropped()
            return
        own = inference.own[self._measure.output]
        given = inference.outputs.get(self._measure.output, own)
        held = self._measure.hold(own), None if given is own else self._measure.hold(given)
        pair = Pair(key, *held, inference.execution_seconds)
        if not self._waiting.offer(Question(inference.inputs, pair, asker, hops)):
            self._metrics.count_dropped()

    async def run(self) -> None:
        """Ask for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(ASKERS):
                group.create_task(self._ask_for_ever())

    async def _ask_for_ever(self) -> None:
        with contextlib.closing(TwinConnection(self._settings.url, CONNECTION_SECONDS)) as connection:
            while True:
                await self._compare(connection, await self._waiting.take())

    async def _compare(self, connection: TwinConnection, question: Question) -> None:
        if self._twin.is_absent:
            return
        try:
            # The asker knows its own answer: it takes part in nothing if the twin is the asker itself.
            if not self._is_relayed(question) or await self._digest(connection) != question.asker:
                await self._ask(connection, question)
        except Unreachable:
            self._twin.refused_connection()
        except (Undecided, Broken, Malformed, Incomparable):
            self._metrics.count_dropped()
        except Exception:  # noqa: BLE001
            # A comparison that fails in an unforeseen way must not end all others.
            _log.exception("comparison failed")
            self._metrics.count_dropped()

    def _is_relayed(self, question: Question) -> bool:
        return question.asker != self._settings.digest

    async def _digest(self, connection: TwinConnection) -> str:
        """The twin's model; at most one small question in 10 s for each asker, and no inference, keeps it known."""
        if not self._twin.digest:
            try:
                answer = await connection.ask("GET", PROBE_PATH, seconds=GRACE_SECONDS)
            except TimeoutError:
                raise Undecided from None
            self._twin.learn(digest_of(answer), connection.opened_at)
        return self._twin.digest

    async def _ask(self, connection: TwinConnection, question: Question) -> None:
        if self._twin.is_busy:
            raise Undecided
        parts = write_request(question.inputs, self._measure.output, self._signature)
        origin = f"{ASKER_HEADER}: {question.asker}\r\n{HOPS_HEADER}: {question.hops}\r\n"
        headers = f"{HEADER_LENGTH}: {len(parts[0])}\r\n{origin}"
        try:
            answer = await connection.ask("POST", self._path, headers, parts, self._patience_seconds)
        except TimeoutError:
            self._count_no_answer(question, self._twin.last_digest)
            return
        digest = digest_of(answer)
        self._twin.learn(digest, connection.opened_at)
        if digest not in (self._settings.digest, question.asker):
            await self._take(question, digest, answer)

    async def _take(self, question: Question, digest: str, answer: Response) -> None:
        # An overloaded or starting twin says nothing of its model, nor does one that serves another name.
        if answer.status == 503:
            self._twin.refused_question()
            raise Undecided
        self._twin.took_question()
        if answer.status == 200:
            await self._tally.add(question.pair, digest, answer)
        elif answer.status == 400 or answer.status >= 500:
            self._count_no_answer(question, digest)
        else:
            raise Undecided

    def _count_no_answer(self, question: Question, twin: str) -> None:
        """INT8 owes float an answer: none is a mismatch, or those it fails on would go unseen."""
        if self._settings.variant != "float" or twin in ("", question.asker):
            raise Undecided
        self._tally.count(question.pair, twin, Verdict.no_answer())


class Relay:
    """The observer of twins' questions, beside the comparison that observes users'."""

    def __init__(self, comparison: Comparison) -> None:
        """Hand questions on to `comparison`."""
        self._comparison = comparison

    def see(self, inference: Inference) -> None:
        """Take an answer to a twin."""
        self._comparison.relay(inference)
