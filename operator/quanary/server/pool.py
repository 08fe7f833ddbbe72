"""Requests to one server over a pool of kept-alive connections.

HTTP/1.1 by hand on httptools: a client library costs several times the CPU of passing an inference on. Answers may
have a length or be chunked; redirects and encodings are not followed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
from typing_extensions import override

CONNECT_SECONDS: Final = 1.0
ANSWER_LIMIT_BYTES: Final = 64 * 2**20
HEAD_LIMIT_BYTES: Final = 64 * 2**10

Part = bytes | memoryview


class Unreachable(ConnectionError):  # noqa: N818
    """Nobody listens there, or nobody took the connection in time: the request was never sent."""


class Broken(ConnectionError):  # noqa: N818
    """The connection ended before the answer did, or what came is no answer within bounds."""


class _Stale(Exception):  # noqa: N818
    """A kept connection that the other side had ended before this request: it was never looked at."""


@dataclass(frozen=True)
class Response:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pool:
    """As many connections as requests are under way, but no more than a limit; the rest wait their turn."""

    def __init__(self, url: str, limit: int) -> None:
        """Speak to `http://HOST:PORT`, over `limit` connections at most."""
        parts = urlsplit(url)
        self._host, self._port, self._netloc = parts.hostname or "", parts.port or 80, parts.netloc
        self._places = asyncio.Semaphore(limit)
        self._idle: list[_Connection] = []

    def place(self) -> asyncio.Semaphore:
        """What to hold, by `async with`, around `ask`: its turn among the connections."""
        return self._places

    async def ask(self, verb: str, path: str, headers: str = "", parts: Sequence[Part] = ()) -> Response:
        """Send `parts` as one body, and wait for the answer. `headers` are whole lines, each with its end.

        If this is cancelled, the connection ends: a late answer must not be taken for the next one.

        Raises:
            Unreachable: nobody was there to be asked.
            Broken: the answer did not come whole.
        """
        length = sum(map(len, parts))
        head = f"{verb} {path} HTTP/1.1\r\nhost: {self._netloc}\r\n{headers}content-length: {length}\r\n\r\n".encode()
        while self._idle:
            try:
                return await self._exchange(self._idle.pop(), head, parts)
            except _Stale:
                continue
        return await self._exchange(await self._connect(), head, parts)

    def close(self) -> None:
        """End the connections that nobody uses now."""
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, connection: "_Connection", head: bytes, parts: Sequence[Part]) -> Response:
        try:
            response = await connection.ask(head, parts)
        except BaseException:
            connection.close()
            raise
        if connection.is_kept:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except OSError as error:  # TimeoutError is one of them
            message = f"{self._netloc}: {str(error) or 'no connection in time'}"
            raise Unreachable(message) from error
        return connection


class _Connection(asyncio.Protocol):
    """One exchange after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Response] | None = None
        self._is_used = False  # by an earlier exchange
        self._may_go_on = False
        self._start()

    def _start(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._body_bytes = 0
        self._has_begun = False

    async def ask(self, head: bytes, parts: Sequence[Part]) -> Response:
        """Send one request and wait for its answer."""
        if self._transport is None:
            raise self._ended("closed")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.writelines([head, *parts])
        return await self._waiting

    @property
    def is_kept(self) -> bool:
        """Whether another exchange may follow."""
        return self._transport is not None and self._may_go_on

    def close(self) -> None:
        """End it; what still comes is nobody's."""
        self._waiting = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    @override
    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            # Nobody asked.
            self.close()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # The parser wraps what its callbacks raise.
            self._fail(Broken(f"an answer that is none: {error.__context__ or error}"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(self._ended(str(exc or "closed")))

    def _ended(self, reason: str) -> Exception:
        is_stale = self._is_used and not self._has_begun
        return _Stale() if is_stale else Broken(f"the connection ended before the answer: {reason}")

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The start of an answer; a second one, that nobody asked for, must not be taken for the next."""
        self._may_go_on = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_LIMIT_BYTES:
            message = f"headers: found more than {HEAD_LIMIT_BYTES} bytes; allowed: at most so many"
            raise ValueError(message)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > ANSWER_LIMIT_BYTES:
            message = f"body: found more than {ANSWER_LIMIT_BYTES} bytes; allowed: at most so many"
            raise ValueError(message)
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The end of an answer."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        response = Response(self._parser.get_status_code(), self._headers, body)
        self._start()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(response)
            self._is_used = True
            self._may_go_on = bool(self._parser.should_keep_alive())
