"""A question to the twin over one kept-alive connection.

HTTP/1.1 by hand: a client library costs several times the CPU of the answer itself, and the only server ever asked is
this program, which sends a Content-Length with every answer.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from typing_extensions import override

CONNECT_SECONDS: Final = 1.0
ANSWER_LIMIT_BYTES: Final = 64 * 2**20
HEAD_LIMIT_BYTES: Final = 64 * 2**10
_HEAD_END: Final = b"\r\n\r\n"


class NoTwin(ConnectionError):  # noqa: N818
    """Nobody listens there now."""


class Broken(ConnectionError):  # noqa: N818
    """The connection ended, or what came over it is no answer."""


@dataclass(frozen=True)
class TwinAnswer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TwinConnection:
    """At most one connection, opened by the first question and by the first after its lifetime."""

    def __init__(self, url: str, lifetime_seconds: float = math.inf) -> None:
        """Speak to `http://HOST:PORT`."""
        parts = urlsplit(url)
        self._host, self._port, self._netloc = parts.hostname or "", parts.port or 80, parts.netloc
        self._lifetime_seconds = lifetime_seconds
        self._wire: _Wire | None = None
        self.opened_at = -math.inf  # by the monotonic clock

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str], seconds: float | None = None
    ) -> TwinAnswer:
        """Ask, and wait for the answer, at most so many `seconds`.

        Raises:
            NoTwin: the connection was refused, or nobody took it in time.
            Broken: it ended before the answer was complete.
            TimeoutError: the answer took too long.
        """
        return await self._ask("POST", path, content, headers, seconds)

    async def get(self, path: str, seconds: float) -> TwinAnswer:
        """Ask for a page; raises as `post` does."""
        return await self._ask("GET", path, b"", {}, seconds)

    async def _ask(
        self, verb: str, path: str, content: bytes, headers: Mapping[str, str], seconds: float | None
    ) -> TwinAnswer:
        wire = await self._connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{verb} {path} HTTP/1.1\r\nhost: {self._netloc}\r\ncontent-length: {len(content)}\r\n{lines}\r\n"
        is_kept = False
        try:
            answer = await wire.ask((head.encode(), content), seconds)
            is_kept = answer.headers.get("connection", "").lower() != "close"
        finally:
            # Also when the asker gave up: a late answer must not be taken for the next one.
            if not is_kept:
                self.close()
        return answer

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _connect(self) -> "_Wire":
        now = time.monotonic()
        if self._wire is not None and (self._wire.is_ended or now - self.opened_at > self._lifetime_seconds):
            self.close()
        if self._wire is None:
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, self._wire = await loop.create_connection(_Wire, self._host, self._port)
            except OSError as error:  # TimeoutError is one of them
                raise NoTwin(str(error)) from error
            self.opened_at = now
        return self._wire


class _Wire(asyncio.Protocol):
    """One question at a time, and the bytes that come back."""

    def __init__(self) -> None:
        self.is_ended = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[TwinAnswer] | None = None
        # Of the answer that is coming in, once its head is there: status, headers, where its body begins and ends.
        self._head: tuple[int, Mapping[str, str], int, int] | None = None

    async def ask(self, parts: tuple[bytes, ...], seconds: float | None) -> TwinAnswer:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        self._transport.writelines(parts)
        # A timer, not a timeout of a task: that costs as much as reading the answer.
        late = None if seconds is None else loop.call_later(seconds, self._is_late)
        try:
            return await self._waiting
        finally:
            if late is not None:
                late.cancel()

    def close(self) -> None:
        self._end("closed")
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            answer = self._answer()
        except (ValueError, IndexError) as error:
            self._end(str(error))
            return
        if answer is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc or "the connection ended"))

    def _end(self, reason: str) -> None:
        self.is_ended = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(Broken(reason))

    def _is_late(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(TimeoutError("no answer in time"))

    def _answer(self) -> TwinAnswer | None:
        """The answer if it is complete. What nobody asked for ends the connection too."""
        if self._waiting is None or self._waiting.done():
            raise ValueError("bytes without a question")
        if self._head is None:
            self._head = self._read_head()
        if self._head is None or len(self._received) < self._head[3]:
            return None
        (status, headers, begin, end), self._head = self._head, None
        answer = TwinAnswer(status, headers, bytes(memoryview(self._received)[begin:end]))
        # More than the answer would be taken for the next one.
        self.is_ended = len(self._received) > end
        self._received.clear()
        return answer

    def _read_head(self) -> tuple[int, Mapping[str, str], int, int] | None:
        size = self._received.find(_HEAD_END, 0, HEAD_LIMIT_BYTES)
        if size < 0:
            if len(self._received) >= HEAD_LIMIT_BYTES:
                raise ValueError(f"head: found more than {HEAD_LIMIT_BYTES} bytes; allowed: at most so many")
            return None
        start, *lines = self._received[:size].decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "-1"))
        if not 0 <= length <= ANSWER_LIMIT_BYTES:
            raise ValueError(f"content-length: found {length}; allowed: 0 to {ANSWER_LIMIT_BYTES}")
        begin = size + len(_HEAD_END)
        return int(start.split(" ")[1]), headers, begin, begin + length
