"""Who asks: users, whose every outcome is counted whatever transport they use, and twins, who are in no count."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Protocol

from quanary.server.asgi import CLOSE, Bodies, HttpQuestion, Receive, Refused, Scope, header
from quanary.server.comparison import TURN_SHARE, origin_of
from quanary.server.data_plane import OWN_ANSWERS, Answer, DataPlane, Observer, Policy, Question, refusal
from quanary.server.deadline import Deadlines
from quanary.server.metrics import Metrics
from quanary.server.statistics import Statistics
from quanary.wire.inference import (
    ASKER_HEADER,
    CRITICAL,
    ESCALATION_HEADER,
    EXECUTION_HEADER,
    HEADER_LENGTH,
    HOPS_HEADER,
)

TWIN_WAITING_LIMIT: Final = 32
ESCALATIONS_LIMIT: Final = 32
LOADING: Final = "the model is being loaded"


@dataclass
class Front:
    """What all transports share: one model's name, and whether it is there."""

    name: str
    digest: str  # short
    deadline_seconds: float
    plane: DataPlane | None = None
    is_draining: bool = False
    bodies: Bodies = field(default_factory=Bodies)
    statistics: Statistics = field(default_factory=Statistics)

    @cached_property
    def deadlines(self) -> Deadlines:
        """Of all requests being answered."""
        return Deadlines(self.deadline_seconds)

    @property
    def is_ready(self) -> bool:
        """Whether new requests should come here."""
        return self.plane is not None and not self.is_draining

    async def infer(self, question: Question, policy: Policy = OWN_ANSWERS) -> Answer:
        """An answer by the deadline, whatever the model does."""
        if self.plane is None:
            return refusal(503, LOADING)
        try:
            with self.deadlines.hold():
                return await self.plane.infer(question, policy)
        except TimeoutError:
            return refusal(504, f"no answer within {self.deadline_seconds:g} s")


class Traffic(Protocol):
    """What one kind of askers means for the inference route."""

    async def infer(self, scope: Scope, receive: Receive) -> Answer:
        """An answer to an inference request."""
        ...

    def after(self, answer: Answer) -> None:
        """What follows once the answer has left."""
        ...


class UserTraffic:
    """Users: every outcome is counted, some answers are compared."""

    def __init__(self, front: Front, metrics: Metrics, critical: tuple[bytes, bytes] | None = None) -> None:
        """Leave out of every count the requests that carry the header `critical`."""
        self.policy: Policy = OWN_ANSWERS
        self.critical_policy: Policy = OWN_ANSWERS
        self.observers: list[Observer] = []
        self._front = front
        self._metrics = metrics
        self._critical = critical

    async def infer(self, scope: Scope, receive: Receive) -> Answer:
        """An answer to a request over HTTP."""
        with self._front.bodies.hold() as body:
            try:
                content = await body.read(scope, receive)
            except Refused as refused:
                return self.refuse(refused.answer, scope["headers"])
            return await self.ask(HttpQuestion(content, header(scope, HEADER_LENGTH)), scope["headers"])

    async def ask(self, question: Question, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
        """An answer; its latency runs from the complete question, so that a slow client harms no model."""
        is_critical = self._is_critical(headers)
        started = time.perf_counter()
        answer = await self._front.infer(question, self.critical_policy if is_critical else self.policy)
        return self._counted(answer, time.perf_counter() - started, is_critical=is_critical)

    def refuse(self, answer: Answer, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
        """The answer to a question that never came in whole."""
        return self._counted(answer, 0, is_critical=self._is_critical(headers))

    def _is_critical(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        return self._critical is not None and self._critical in headers

    def _counted(self, answer: Answer, latency_seconds: float, *, is_critical: bool) -> Answer:
        if is_critical:
            return replace(answer, inference=None)
        seconds = answer.inference.execution_seconds if answer.inference else None
        self._metrics.count_answer(answer.status, latency_seconds, seconds)
        self._front.statistics.count(latency_seconds, seconds)
        return answer

    def after(self, answer: Answer) -> None:
        """Show what a user got to those who watch."""
        if answer.inference is not None:
            for each in self.observers:
                each.see(answer.inference)


class TwinTraffic:
    """The twin's questions: in no count, never compared again, and one at a time so that users hardly wait for them."""

    def __init__(self, front: Front) -> None:
        """Share the model with the users."""
        self.policy: Policy = OWN_ANSWERS
        self.observers: list[Observer] = []
        self._front = front
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0
        self._escalations = 0

    async def infer(self, scope: Scope, receive: Receive) -> Answer:
        """An answer with the model's execution time; one that a user waits for takes no turn."""
        if header(scope, ESCALATION_HEADER) is not None:
            return await self._escalated(scope, receive)
        if self._waiting >= TWIN_WAITING_LIMIT:
            return refusal(503, f"{self._waiting} questions of twins wait already").adding(CLOSE)
        self._waiting += 1
        try:
            answer = await self._in_turn(scope, receive)
        finally:
            self._waiting -= 1
        if answer.inference is None:
            return answer
        asker, hops = origin_of(header(scope, ASKER_HEADER), header(scope, HOPS_HEADER))
        seconds = f"{answer.inference.execution_seconds:.9f}".encode()
        asked = replace(answer.inference, asker=asker, hops=hops)
        return replace(answer, inference=asked).adding((EXECUTION_HEADER.encode(), seconds))

    async def _escalated(self, scope: Scope, receive: Receive) -> Answer:
        is_critical = header(scope, ESCALATION_HEADER) == CRITICAL.encode()
        if self._escalations >= ESCALATIONS_LIMIT and not is_critical:
            return refusal(503, f"{self._escalations} escalated questions wait already").adding(CLOSE)
        self._escalations += 1
        try:
            with self._front.bodies.hold() as body:
                content = await body.read(scope, receive)
                answer = await self._front.infer(HttpQuestion(content, header(scope, HEADER_LENGTH)))
        except Refused as refused:
            return refused.answer
        finally:
            self._escalations -= 1
        # The server that escalated counts and compares it.
        return replace(answer, inference=None)

    async def _in_turn(self, scope: Scope, receive: Receive) -> Answer:
        with self._front.bodies.hold() as body:
            try:
                content = await body.read(scope, receive)
                async with asyncio.timeout(self._front.deadline_seconds * TURN_SHARE):
                    await self._turn.acquire()
            except Refused as refused:
                return refused.answer
            except TimeoutError:
                # Not 504: the model was never asked, so it must not be blamed.
                return refusal(503, "the turn of this question did not come")
            try:
                return await self._front.infer(HttpQuestion(content, header(scope, HEADER_LENGTH)), self.policy)
            finally:
                self._turn.release()

    def after(self, answer: Answer) -> None:
        """Show what a twin asked to those who watch inputs; a comparison of a comparison would never end."""
        if answer.inference is not None:
            for each in self.observers:
                each.see(answer.inference)
