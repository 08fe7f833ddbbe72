"""The routes: the Open Inference Protocol for users and for the twin, and the metrics."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Final, Protocol

import msgspec

from quanary.server.asgi import (
    CLOSE,
    Application,
    Bodies,
    ClientGone,
    Receive,
    Refused,
    Scope,
    Send,
    header,
    json_answer,
    send_answer,
)
from quanary.server.data_plane import OWN_ANSWERS, Answer, DataPlane, Observer, Policy, refusal
from quanary.server.metrics import CONTENT_TYPE, Metrics
from quanary.server.twin import TURN_SHARE
from quanary.wire.inference import DIGEST_HEADER, EXECUTION_HEADER, HEADER_LENGTH, MODEL_VERSION, ServerMetadata

TWIN_WAITING_LIMIT: Final = 32
VERSION: Final = version("quanary")


@dataclass
class Front:
    """What all routes share: one model's name, and whether it is there."""

    name: str
    digest: str  # short
    deadline_seconds: float
    plane: DataPlane | None = None
    is_draining: bool = False
    bodies: Bodies = field(default_factory=Bodies)

    @property
    def is_ready(self) -> bool:
        """Whether new requests should come here."""
        return self.plane is not None and not self.is_draining

    async def infer(self, body: bytes, header_length: bytes | None, policy: Policy = OWN_ANSWERS) -> Answer:
        """An answer by the deadline, whatever the model does."""
        if self.plane is None:
            return refusal(503, "the model is being loaded")
        try:
            async with asyncio.timeout(self.deadline_seconds):
                return await self.plane.infer(body, header_length, policy)
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
        self.observers: list[Observer] = []
        self._front = front
        self._metrics = metrics
        self._critical = critical

    async def infer(self, scope: Scope, receive: Receive) -> Answer:
        """An answer; its latency runs from the complete body, so that a slow client harms no model."""
        with self._front.bodies.hold() as body:
            started = time.perf_counter()
            try:
                content = await body.read(scope, receive)
                started = time.perf_counter()
                answer = await self._front.infer(content, header(scope, HEADER_LENGTH), self.policy)
            except Refused as refused:
                answer, started = refused.answer, time.perf_counter()
        if self._critical is not None and self._critical in scope["headers"]:
            return replace(answer, inference=None)
        seconds = answer.inference.execution_seconds if answer.inference else None
        self._metrics.count_answer(answer.status, time.perf_counter() - started, seconds)
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
        self.observers: list[Observer] = []
        self._front = front
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def infer(self, scope: Scope, receive: Receive) -> Answer:
        """An answer with the model's execution time."""
        if self._waiting >= TWIN_WAITING_LIMIT:
            return refusal(503, f"{self._waiting} questions of twins wait already").adding(CLOSE)
        self._waiting += 1
        try:
            answer = await self._in_turn(scope, receive)
        finally:
            self._waiting -= 1
        if answer.inference is None:
            return answer
        return answer.adding((EXECUTION_HEADER.encode(), f"{answer.inference.execution_seconds:.9f}".encode()))

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
                return await self._front.infer(content, header(scope, HEADER_LENGTH))
            finally:
                self._turn.release()

    def after(self, answer: Answer) -> None:
        """Show what a twin asked to those who watch inputs; a comparison of a comparison would never end."""
        if answer.inference is not None:
            for each in self.observers:
                each.see(answer.inference)


def create_app(front: Front, traffic: Traffic) -> Application:
    """The Open Inference Protocol for one kind of askers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await _answer(front, traffic, scope, receive)
        except ClientGone:
            return
        await send_answer(send, _finish(front, answer))
        traffic.after(answer)

    return app


def create_metrics_app(metrics: Metrics) -> Application:
    """`/gates` for the controller and `/metrics` for people."""
    pages = {"/gates": metrics.render_gates, "/metrics": metrics.render_all}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        render = pages.get(scope["path"])
        if render is None:
            answer = refusal(404, "unknown path; allowed: /gates, /metrics")
        elif scope["method"] != "GET":
            answer = _wrong_verb("GET")
        else:
            answer = Answer(200, render(), ((b"content-type", CONTENT_TYPE.encode()),))
        await send_answer(send, answer)

    return app


async def _answer(front: Front, traffic: Traffic, scope: Scope, receive: Receive) -> Answer:
    words = scope["path"].rstrip("/").split("/")[1:]
    if words[:2] == ["v2", "models"] and len(words) > 2:
        return await _answer_model(front, traffic, words[2:], scope, receive)
    pages = {
        ("v2",): lambda: Answer(200, msgspec.json.encode(ServerMetadata("quanary", VERSION))),
        ("v2", "health", "live"): lambda: json_answer({"live": True}),
        ("v2", "health", "ready"): lambda: json_answer({"ready": front.is_ready}, 200 if front.is_ready else 503),
    }
    page = pages.get(tuple(words))
    if page is None:
        return refusal(404, "unknown path; allowed: those of the Open Inference Protocol v2")
    return page() if scope["method"] == "GET" else _wrong_verb("GET")


async def _answer_model(front: Front, traffic: Traffic, words: list[str], scope: Scope, receive: Receive) -> Answer:
    name, rest = words[0], words[1:]
    if name != front.name:
        return refusal(404, f"unknown model {name[:100]!r}; this server has {front.name!r}")
    if rest[:1] == ["versions"] and len(rest) > 1:
        if rest[1] != MODEL_VERSION:
            return refusal(404, f"unknown version {rest[1][:100]!r}; this server has {MODEL_VERSION!r}")
        rest = rest[2:]
    if rest not in ([], ["ready"], ["infer"]):
        return refusal(404, "unknown path; allowed: infer, ready, or nothing after the model")
    verb = "POST" if rest == ["infer"] else "GET"
    if scope["method"] != verb:
        return _wrong_verb(verb)
    return await traffic.infer(scope, receive) if verb == "POST" else _describe_model(front, is_state=bool(rest))


def _describe_model(front: Front, *, is_state: bool) -> Answer:
    if is_state:
        return json_answer({"name": front.name, "ready": front.is_ready}, 200 if front.is_ready else 503)
    if front.plane is None:
        return refusal(503, "the model is being loaded")
    return Answer(200, msgspec.json.encode(front.plane.metadata()))


def _wrong_verb(allowed: str) -> Answer:
    # The body of a wrong request is never read, so the connection cannot go on.
    return refusal(405, f"wrong method; allowed: {allowed}").adding((b"allow", allowed.encode()), CLOSE)


def _finish(front: Front, answer: Answer) -> Answer:
    answer = answer.adding((DIGEST_HEADER.encode(), front.digest.encode()))
    # While draining, clients are sent to other pods one answer at a time instead of losing a connection at the end.
    return answer.adding(CLOSE) if front.is_draining and CLOSE not in answer.headers else answer
