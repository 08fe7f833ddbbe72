"""ASGI by hand: a body in within limits, an answer out. No framework on the way of an inference."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Self

from quanary.server.data_plane import JSON, Answer, Headers, refusal
from quanary.server.deadline import Deadlines
from quanary.server.inflate import ENCODINGS, Corrupt, Inflating
from quanary.server.messages import Request, Signature, read_request, write_response
from quanary.server.tensors import Tensors
from quanary.wire.inference import HEADER_LENGTH

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT_BYTES: Final = 64 * 2**20
# All bodies being read or answered at one time.
BODIES_LIMIT_BYTES: Final = 256 * 2**20
BODY_SECONDS: Final = 30.0
# An extension of the scope: gives the whole body, or None while it is not there.
WHOLE_BODY: Final = "quanary.whole_body"
CLOSE: Final = (b"connection", b"close")
BINARY: Final = (b"content-type", b"application/octet-stream")


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
    for key, value in scope["headers"]:
        if key == wanted:
            return bytes(value)
    return None


async def send_answer(send: Send, answer: Answer) -> None:
    """Send it whole."""
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def json_answer(value: Any, status: int = 200) -> Answer:
    """A small JSON answer."""
    return Answer(status, json.dumps(value).encode())


@dataclass(frozen=True)
class HttpQuestion:
    """An inference request as HTTP carries it: a body and its `Inference-Header-Content-Length`, if any."""

    body: bytes
    header_length: bytes | None

    def read(self, signature: Signature) -> Request:
        """What is asked."""
        return read_request(self.body, self.header_length, signature)

    def write(self, name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, Headers]:
        """The body and the headers of an answer."""
        body, head = write_response(name, request, outputs, signature)
        return body, (JSON,) if head is None else (BINARY, (HEADER_LENGTH.encode(), str(head).encode()))


class Bodies:
    """Bodies in memory, each one and all together within limits."""

    def __init__(self, limit_bytes: int = BODY_LIMIT_BYTES, total_bytes: int = BODIES_LIMIT_BYTES) -> None:
        """Refuse a body beyond `limit_bytes`, and any while `total_bytes` are held."""
        self._limit = limit_bytes
        self._total = total_bytes
        self._held = 0
        self.deadlines = Deadlines(BODY_SECONDS)

    def hold(self) -> "Body":
        """A body's place; `with` holds it until its answer is made."""
        return Body(self)

    def release(self, size: int) -> None:
        """Count a body no more."""
        self._held -= size

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

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._bodies.release(self.size)

    def take(self, part: bytes) -> None:
        """Count a part that came in.

        Raises:
            Refused: that is too much.
        """
        self._bodies.admit(self.size, len(part))
        self.size += len(part)

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, unpacked.

        Raises:
            Refused: it is too large, too slow, or not what its encoding says.
            ClientGone: it ended early.
        """
        encoding = self._check_head(scope)
        whole_body = scope.get("extensions", {}).get(WHOLE_BODY)
        if encoding is None and whole_body and (body := whole_body()) is not None:
            self.take(body)
            return bytes(body)
        try:
            with self._bodies.deadlines.hold():
                if encoding is None:
                    return await self._as_it_is(receive)
                return b"".join([part async for part in self._unpacked(encoding, receive)])
        except TimeoutError:
            raise Refused(refusal(408, f"body: not complete within {BODY_SECONDS:g} s").adding(CLOSE)) from None

    def _check_head(self, scope: Scope) -> bytes | None:
        encoding = header(scope, "content-encoding")
        if encoding not in (None, b"identity", *ENCODINGS):
            message = f"Content-Encoding: found {encoding!r:.60}; allowed: gzip, deflate or none"
            raise Refused(refusal(415, message).adding(CLOSE))
        declared = header(scope, "content-length")
        if declared is not None and declared.isdigit():
            # Refused before the first byte is read; what is really read is counted all the same.
            self._bodies.admit(int(declared), 0)
        return encoding if encoding in ENCODINGS else None

    async def _as_it_is(self, receive: Receive) -> bytes:
        parts, is_more = [], True
        while is_more:
            part, is_more = await _receive_part(receive)
            self.take(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _unpacked(self, encoding: bytes, receive: Receive) -> AsyncIterator[bytes]:
        inflating = Inflating(encoding)
        try:
            is_more = True
            while is_more:
                part, is_more = await _receive_part(receive)
                for piece in inflating.pieces(part):
                    self.take(piece)
                    yield piece
                    # Unpacking much must not keep others waiting.
                    await asyncio.sleep(0)
            inflating.end()
        except Corrupt as error:
            raise Refused(refusal(400, f"body in {encoding.decode()}: {error}").adding(CLOSE)) from None


async def _receive_part(receive: Receive) -> tuple[bytes, bool]:
    """A part of a body, and whether more follow."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)
