"""Who asks: users, whose every outcome is counted whatever transport they use, and twins, who are in no count."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, Protocol

from msgspec.structs import replace

from quanary.server.bodies import Bodies
from quanary.server.comparison import TURN_SHARE, origin_of
from quanary.server.data_plane import (
    CLOSE,
    OWN_ANSWERS,
    Answer,
    DataPlane,
    Observer,
    Policy,
    Question,
    Refused,
    refusal,
)
from quanary.server.deadline import Deadlines
from quanary.server.http.question import HttpQuestion
from quanary.server.http.request import HttpRequest
from quanary.server.metrics import Metrics
from quanary.server.soon import Soon, follow
from quanary.server.statistics import Statistics
from quanary.server.turn import Turn
from quanary.wire.inference import ASKER_HEADER, CRITICAL, ESCALATION_HEADER, EXECUTION_HEADER, HOPS_HEADER

RequestHeaders = Mapping[bytes, bytes]  # by name in lower case
TWIN_WAITING_LIMIT: Final = 32
ESCALATIONS_LIMIT: Final = 32
LOADING: Final = "the model is being loaded"
_ESCALATION: Final = ESCALATION_HEADER.encode()
_ASKER: Final = ASKER_HEADER.encode()
_HOPS: Final = HOPS_HEADER.encode()
_EXECUTION: Final = EXECUTION_HEADER.encode()


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

    def infer(self, question: Question, policy: Policy = OWN_ANSWERS) -> Awaitable[Answer]:
        """An answer by the deadline, whatever the model does."""
        if self.plane is None:
            return refusal(503, LOADING)
        answer = self.plane.infer(question, policy)
        if isinstance(answer, Soon):
            return self.deadlines.limit(answer, self._late)
        return answer if isinstance(answer, Answer) else self._in_time(answer)

    async def _in_time(self, coming: Awaitable[Answer]) -> Answer:
        try:
            with self.deadlines.hold():
                return await coming
        except TimeoutError:
            return self._late()
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            # Nobody cancels this: it is the model's way to fail.
            return refusal(500, "inference failed: it was cancelled")

    def _late(self) -> Answer:
        return refusal(504, f"no answer within {self.deadline_seconds:g} s")


class Traffic(Protocol):
    """What one kind of askers means for the inference route."""

    def infer(self, request: HttpRequest) -> Awaitable[Answer]:
        """An answer to an inference request, at once if it is there.

        Raises:
            ClientGone: nobody waits for it any more.
        """
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

    def infer(self, request: HttpRequest) -> Awaitable[Answer]:
        """An answer to a request over HTTP."""
        try:
            content = self._front.bodies.take_whole(request)
        except Refused as refused:
            return self.refuse(refused.answer, request.headers)
        if content is None:
            return self._infer_later(request)
        return self.ask(HttpQuestion.of(content, request.headers), request.headers, len(content))

    async def _infer_later(self, request: HttpRequest) -> Answer:
        with self._front.bodies.hold() as body:
            try:
                content = await body.read(request)
            except Refused as refused:
                return self.refuse(refused.answer, request.headers)
            return await self.ask(HttpQuestion.of(content, request.headers), request.headers)

    def ask(self, question: Question, headers: RequestHeaders, held_bytes: int = 0) -> Awaitable[Answer]:
        """An answer; its latency runs from the complete question, so that a slow client harms no model.

        Of its body so many bytes were held, and no longer are.
        """
        is_critical = self._is_critical(headers)
        started = time.perf_counter()
        answer = self._front.infer(question, self.critical_policy if is_critical else self.policy)
        return follow(answer, partial(self._counted, started, is_critical, held_bytes))

    def refuse(self, answer: Answer, headers: RequestHeaders) -> Answer:
        """The answer to a question that never came in whole."""
        return self._counted(time.perf_counter(), self._is_critical(headers), 0, answer)

    def _is_critical(self, headers: RequestHeaders) -> bool:
        if self._critical is None or (said := headers.get(self._critical[0])) is None:
            return False
        # The header may have come more than once, by itself or as a list.
        return any(each.strip(b" \t") == self._critical[1] for each in said.split(b","))

    def _counted(self, started: float, is_critical: bool, held_bytes: int, answer: Answer) -> Answer:
        self._front.bodies.release(held_bytes)
        if is_critical:
            return answer.unseen()
        latency_seconds = time.perf_counter() - started
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
        self._turn = Turn()
        self._asking = 0
        self._escalations = 0

    def infer(self, request: HttpRequest) -> Awaitable[Answer]:
        """An answer with the model's execution time; one that a user waits for takes no turn."""
        if (cause := request.headers.get(_ESCALATION)) is not None:
            return self._ask_for_user(request, cause)
        if self._asking >= TWIN_WAITING_LIMIT:
            return refusal(503, f"{self._asking} questions of twins wait already").adding(CLOSE)
        try:
            content = self._front.bodies.take_whole(request)
        except Refused as refused:
            return refused.answer
        self._asking += 1
        if content is None or not self._turn.try_take():
            return self._wait_and_ask(request, content)
        return follow(self._ask(request, content), partial(self._let_go, len(content)))

    def _let_go(self, size: int, answer: Answer) -> Answer:
        self._asking -= 1
        self._turn.release()
        self._front.bodies.release(size)
        return answer

    async def _wait_and_ask(self, request: HttpRequest, content: bytes | None) -> Answer:
        with self._front.bodies.hold() as body:
            body.size = len(content or b"")
            try:
                content = await body.read(request) if content is None else content
                async with asyncio.timeout(self._front.deadline_seconds * TURN_SHARE):
                    await self._turn.take()
                try:
                    return await self._ask(request, content)
                finally:
                    self._turn.release()
            except Refused as refused:
                return refused.answer
            except TimeoutError:
                # Not 504: the model was never asked, so it must not be blamed.
                return refusal(503, "the turn of this question did not come")
            finally:
                self._asking -= 1

    def _ask(self, request: HttpRequest, content: bytes) -> Awaitable[Answer]:
        answer = self._front.infer(HttpQuestion.of(content, request.headers), self.policy)
        return follow(answer, partial(_with_origin, request))

    async def _ask_for_user(self, request: HttpRequest, cause: bytes) -> Answer:
        if self._escalations >= ESCALATIONS_LIMIT and cause != CRITICAL.encode():
            return refusal(503, f"{self._escalations} escalated questions wait already").adding(CLOSE)
        self._escalations += 1
        try:
            with self._front.bodies.hold() as body:
                content = await body.read(request)
                answer = await self._front.infer(HttpQuestion.of(content, request.headers))
        except Refused as refused:
            return refused.answer
        finally:
            self._escalations -= 1
        # The server that escalated counts and compares it.
        return answer.unseen()

    def after(self, answer: Answer) -> None:
        """Show what a twin asked to those who watch inputs; a comparison of a comparison would never end."""
        if answer.inference is not None:
            for each in self.observers:
                each.see(answer.inference)


def _with_origin(request: HttpRequest, answer: Answer) -> Answer:
    """With the model's execution time for the twin, and with who asked for those who watch."""
    if answer.inference is None:
        return answer
    asker, hops = origin_of(request.headers.get(_ASKER), request.headers.get(_HOPS))
    seconds = (_EXECUTION, b"%.9f" % answer.inference.execution_seconds)
    return Answer(
        answer.status, answer.body, (*answer.headers, seconds), replace(answer.inference, asker=asker, hops=hops)
    )
