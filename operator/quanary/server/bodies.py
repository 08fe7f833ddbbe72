"""Bodies of requests: in within limits, whole and unpacked."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol, Self

from quanary.server.data_plane import CLOSE, Refused, refusal
from quanary.server.deadline import Deadlines
from quanary.server.inflate import ENCODINGS, Corrupt, Inflating

BODY_LIMIT_BYTES: Final = 64 * 2**20
# All bodies being read or answered at one time.
BODIES_LIMIT_BYTES: Final = 256 * 2**20
BODY_SECONDS: Final = 30.0
_DIGITS: Final = 18  # of a length: more are too many


class ClientGone(Exception):  # noqa: N818
    """Nobody waits for an answer any more."""


class Arriving(Protocol):
    """A request whose body comes in."""

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """By name in lower case."""
        ...

    def take_whole(self) -> bytes | None:
        """The body if all of it is there already, as most are: that takes no waiting, and so no timer."""
        ...

    async def take_part(self) -> tuple[bytes, bool]:
        """A part of it once there is one, and whether more follow.

        Raises:
            ClientGone: none will.
        """
        ...


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

    def take_whole(self, request: Arriving) -> bytes | None:
        """The whole body if it is there already and not packed; then it is held.

        Raises:
            Refused: it is too large, or in an unknown encoding.
        """
        if b"content-encoding" in request.headers and _encoding(request) is not None:
            return None
        body = request.take_whole()
        if body is not None:
            self.admit(0, len(body))
        return body

    def release(self, size: int) -> None:
        """Hold so many bytes less."""
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

    async def read(self, request: Arriving) -> bytes:
        """The whole body, unpacked.

        Raises:
            Refused: it is too large, too slow, or not what its encoding says.
            ClientGone: it ended early.
        """
        encoding = _encoding(request)
        self._check_declared(request)
        try:
            with self._bodies.deadlines.hold():
                if encoding is None:
                    return await self._as_it_is(request)
                return b"".join([part async for part in self._unpacked(encoding, request)])
        except TimeoutError:
            raise Refused(refusal(408, f"body: not complete within {BODY_SECONDS:g} s").adding(CLOSE)) from None

    def _check_declared(self, request: Arriving) -> None:
        """Refuse before the first byte is read; what is really read is counted all the same."""
        declared = request.headers.get(b"content-length", b"").lstrip(b"0")
        if declared.isdigit():
            self._bodies.admit(int(declared[:_DIGITS]), 0)

    async def _as_it_is(self, request: Arriving) -> bytes:
        parts, is_more = [], True
        while is_more:
            part, is_more = await request.take_part()
            self.take(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _unpacked(self, encoding: bytes, request: Arriving) -> AsyncIterator[bytes]:
        inflating = Inflating(encoding)
        try:
            is_more = True
            while is_more:
                part, is_more = await request.take_part()
                for piece in inflating.pieces(part):
                    self.take(piece)
                    yield piece
                    # Unpacking much must not keep others waiting.
                    await asyncio.sleep(0)
            inflating.end()
        except Corrupt as error:
            raise Refused(refusal(400, f"body in {encoding.decode()}: {error}").adding(CLOSE)) from None


def _encoding(request: Arriving) -> bytes | None:
    encoding = request.headers.get(b"content-encoding")
    if encoding is None or encoding == b"identity":
        return None
    if encoding not in ENCODINGS:
        message = f"Content-Encoding: found {encoding!r:.60}; allowed: gzip, deflate or none"
        raise Refused(refusal(415, message).adding(CLOSE))
    return encoding
