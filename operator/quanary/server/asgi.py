"""ASGI by hand: a body in within limits, an answer out. No framework on the way of an inference."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from quanary.server.data_plane import Answer, refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT_BYTES: Final = 64 * 2**20
# All bodies being read or answered at one time.
BODIES_LIMIT_BYTES: Final = 256 * 2**20
BODY_SECONDS: Final = 30.0
CLOSE: Final = (b"connection", b"close")


class Refused(Exception):  # noqa: N818
    """A request that gets this answer and nothing else."""

    def __init__(self, answer: Answer) -> None:
        """Carry the answer."""
        super().__init__(answer.status)
        self.answer = answer


class ClientGone(Exception):  # noqa: N818
    """Nobody waits for an answer any more."""


def header(scope: Scope, name: str) -> bytes | None:
    """The first header of that lower-case name."""
    wanted = name.encode()
    return next((value for key, value in scope["headers"] if key == wanted), None)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send it whole."""
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def json_answer(value: Any, status: int = 200) -> Answer:
    """A small JSON answer."""
    return Answer(status, json.dumps(value).encode())


class Bodies:
    """Bodies in memory, each one and all together within limits."""

    def __init__(self, limit_bytes: int = BODY_LIMIT_BYTES, total_bytes: int = BODIES_LIMIT_BYTES) -> None:
        """Refuse a body beyond `limit_bytes`, and any while `total_bytes` are held."""
        self._limit = limit_bytes
        self._total = total_bytes
        self._held = 0

    @contextmanager
    def hold(self) -> Iterator["Body"]:
        """A body's place until its answer is made."""
        body = Body(self)
        try:
            yield body
        finally:
            self._held -= body.size

    def admit(self, size: int, more: int) -> None:
        """Count `more` bytes of a body that has `size` already.

        Raises:
            Refused: that is too much; the connection ends, since the rest of the body is never read.
        """
        if size + more > self._limit:
            answer = refusal(413, f"body: found more than {self._limit} bytes; allowed: at most so many")
            raise Refused(answer.adding(CLOSE))
        if self._held + more > self._total:
            raise Refused(refusal(503, "too many bytes of requests are being answered").adding(CLOSE))
        self._held += more


class Body:
    """One body as it comes in."""

    def __init__(self, bodies: Bodies) -> None:
        """Empty."""
        self._bodies = bodies
        self.size = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            Refused: it is too large, too slow, or encoded.
            ClientGone: it ended early.
        """
        self._check_head(scope)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return b"".join([part async for part in self._parts(receive)])
        except TimeoutError:
            raise Refused(refusal(408, f"body: not complete within {BODY_SECONDS:g} s").adding(CLOSE)) from None

    def _check_head(self, scope: Scope) -> None:
        encoding = header(scope, "content-encoding")
        if encoding not in (None, b"identity"):
            raise Refused(refusal(415, f"Content-Encoding: found {encoding!r:.60}; allowed: none").adding(CLOSE))
        declared = header(scope, "content-length")
        if declared is not None and declared.isdigit():
            # Refused before the first byte is read; what is really read is counted all the same.
            self._bodies.admit(int(declared), 0)

    async def _parts(self, receive: Receive) -> Any:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            self._bodies.admit(self.size, len(part))
            self.size += len(part)
            yield part
            if not message.get("more_body", False):
                return
