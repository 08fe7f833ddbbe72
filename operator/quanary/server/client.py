"""A connection to another server: HTTP/1.1 on httptools, one question after the other.

A client library costs several times the CPU of passing an inference on. Answers have a length or are chunked;
redirects and encodings are not followed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec
from typing_extensions import override

CONNECT_SECONDS: Final = 1.0
ANSWER_LIMIT_BYTES: Final = 64 * 2**20
HEAD_LIMIT_BYTES: Final = 64 * 2**10


class Unreachable(ConnectionError):  # noqa: N818
    """Nobody listens there, or nobody took the connection in time: the question was never sent."""


class Broken(ConnectionError):  # noqa: N818
    """The connection ended before the answer did, or what came is no answer within bounds."""


class Stale(Broken):
    """It had served before, and ended before the answer began: most likely nobody looked at the question."""


class Response(msgspec.Struct, frozen=True):
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def connect(url: str) -> "ClientConnection":
    """A new connection to `http://HOST:PORT`.

    Raises:
        Unreachable: it was refused, or nobody took it in time.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await loop.create_connection(
                lambda: ClientConnection(parts.netloc), parts.hostname or "", parts.port or 80
            )
    except OSError as error:  # TimeoutError is one of them
        message = f"{parts.netloc}: {str(error) or 'no connection in time'}"
        raise Unreachable(message) from error
    return connection


class ClientConnection(asyncio.Protocol):
    """One question at a time; it is closed as soon as no other may follow."""

    def __init__(self, netloc: str) -> None:
        """Speak to `HOST:PORT`."""
        self._netloc = netloc
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[Response] | None = None
        self._is_used = False  # by an earlier question
        self._may_go_on = False
        self._start()

    def _start(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._loose_bytes = 0  # that came in since the last part of a body
        self._has_begun = False

    async def ask(self, verb: str, path: str, headers: str, parts: Sequence[bytes]) -> Response:
        """Send `parts` as one body, and wait for the answer. `headers` are whole lines, each with its end.

        If this fails or is cancelled, the connection ends: a late answer must not be taken for the next one.

        Raises:
            Stale: the connection, used before, ended before an answer began.
            Broken: the answer did not come whole.
            TimeoutError: see `give_up`.
        """
        if self._transport is None:
            raise self._ended("closed")
        length = sum(map(len, parts))
        head = f"{verb} {path} HTTP/1.1\r\nhost: {self._netloc}\r\n{headers}content-length: {length}\r\n\r\n"
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.writelines([head.encode(), *parts])
        try:
            response = await self._waiting
        except BaseException:
            self.close()
            raise
        if not self._may_go_on:
            self.close()
        return response

    @property
    def is_open(self) -> bool:
        """Whether another question may follow."""
        return self._transport is not None

    def give_up(self) -> None:
        """The question under way took too long."""
        self._fail(TimeoutError("no answer in time"))

    def close(self) -> None:
        """End it; what still comes is nobody's."""
        self._fail(Broken("the connection was closed before the answer"))
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
        self._loose_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # The parser wraps what its callbacks raise.
            self._may_go_on = False
            self._fail(Broken(f"an answer that is none: {error.__context__ or error}"))
            return
        if self._loose_bytes > HEAD_LIMIT_BYTES:
            self._fail(Broken(f"headers: found more than {HEAD_LIMIT_BYTES} bytes; allowed: at most so many"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(self._ended(str(exc or "closed")))

    def _ended(self, reason: str) -> Broken:
        kind = Stale if self._is_used and not self._has_begun else Broken
        return kind(f"the connection ended before the answer: {reason}")

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """The start of an answer; a second one, that nobody asked for, must not be taken for the next."""
        self._may_go_on = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The end of the headers: nobody waits for a body that is too long, or has no end of its own."""
        length = self._headers.get("content-length")
        if length is None and "transfer-encoding" not in self._headers:
            raise ValueError("headers: found neither content-length nor transfer-encoding; allowed: one of them")
        if length is not None and int(length) > ANSWER_LIMIT_BYTES:
            message = f"content-length: found {length}; allowed: 0 to {ANSWER_LIMIT_BYTES}"
            raise ValueError(message)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._loose_bytes = 0
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
