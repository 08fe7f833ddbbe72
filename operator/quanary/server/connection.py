"""One HTTP/1.1 connection: requests in, the answers of an ASGI application out, with little of its own in between.

It stands where uvicorn's own would, and costs about half as much: of a tiny model's request that was the most. It
takes no more than our applications give: an answer is one body of known length.
"""

import asyncio
from asyncio import TimerHandle
from collections import deque
from typing import Any, Final

import httptools
import uvicorn
from typing_extensions import override
from uvicorn.server import ServerState

from quanary.server.asgi import CLOSE
from quanary.server.data_plane import Answer, Headers, refusal
from quanary.server.exchange import Exchange
from quanary.server.head import answer_head, scope_of
from quanary.server.outgoing import Outgoing

HEAD_SECONDS: Final = 10.0
# Also of what a body in chunks holds besides its parts.
HEAD_LIMIT_BYTES: Final = 64 * 2**10
HEADERS_LIMIT: Final = 100
CONNECTIONS_LIMIT: Final = 2000
# Requests that wait on one connection: reading stops at the second, but many may have come in with it.
WAITING_LIMIT: Final = 64
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Excess(Exception):  # noqa: N818
    """More of something than is taken; the text says of what."""


class Connection(asyncio.Protocol):
    """Request heads are bounded in length and time; of several requests sent at once one is answered after the other.

    What `uvicorn.Server` wants of it: the constructor, `shutdown`, and itself and its tasks in the server's state.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Nothing has come in."""
        self._app = config.loaded_app
        self._keep_alive_seconds = config.timeout_keep_alive
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._outgoing: Outgoing  # there with the transport
        self._idle_since = self._loop.time()
        self._idle_timer: TimerHandle | None = None
        self._head_timer: TimerHandle | None = None
        self._units = 0  # heads, parts of bodies and ends that came in
        self._loose_bytes = -1  # that came in after the last of them; -1 between requests
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._incoming: Exchange | None = None  # whose body is read
        self._waiting: deque[Exchange] = deque()  # the first is being answered
        self._is_staying = False  # the head that is parsed is a made-up one
        self._is_reading = True
        self._is_ending = False
        self._is_deaf = False  # what comes in is of no use any more

    # The transport

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._outgoing = Outgoing(transport, self._loop)
        self._state.connections.add(self)  # type: ignore[arg-type]
        if len(self._state.connections) > CONNECTIONS_LIMIT:
            self._say(refusal(503, f"{CONNECTIONS_LIMIT} connections are open already"))
            self._outgoing.end()
        else:
            self._check_idle()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        for timer in (self._head_timer, self._idle_timer):
            if timer:
                timer.cancel()
        for each in self._waiting:
            each.lose()
        self._waiting.clear()
        self._outgoing.lose()

    @override
    def eof_received(self) -> bool:
        """Who sends no more may still wait for answers, but to nothing that is not complete."""
        if self._incoming or not self._waiting:
            return False
        self._waiting[-1].is_last = True
        return True

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_deaf or self._transport.is_closing():
            return
        units = self._units
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            # The parser wraps what its callbacks raise.
            excess = error.__context__
            is_excess = isinstance(excess, Excess)
            self._refuse(refusal(431, str(excess)) if is_excess else refusal(400, f"this is no HTTP/1.1: {error}"))
            return
        if self._loose_bytes >= 0:
            # What came after something else may have begun anywhere in these bytes.
            self._check_loose(len(data) if self._units == units else 0)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._stay(self._headers) + data[upgrade.args[0] :]
            else:
                return

    def _stay(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Go on as before after a request to speak another protocol: nothing else is spoken here.

        The parser takes all after such a head for the other protocol's, the body too. So another one is given a head
        with that body; what was asked is known already.
        """
        self._parser = httptools.HttpRequestParser(self)
        self._is_staying = True
        kept = [b"%s: %s\r\n" % each for each in headers if each[0] in {b"content-length", b"transfer-encoding"}]
        return b"".join((b"POST / HTTP/1.1\r\n", *kept, b"\r\n"))

    @override
    def pause_writing(self) -> None:
        self._outgoing.pause()

    @override
    def resume_writing(self) -> None:
        self._outgoing.resume()

    def shutdown(self) -> None:
        """End, now or when what runs is answered."""
        self._is_ending = True
        if not self._waiting:
            self._outgoing.end()

    # The parser

    def on_message_begin(self) -> None:
        """A head begins."""
        self._loose_bytes = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after a body in chunks it is nobody's: whoever looked at the head has not seen it."""
        if self._incoming:
            return
        if len(self._headers) >= HEADERS_LIMIT:
            raise Excess(f"the request's head: found more than {HEADERS_LIMIT} headers; allowed: at most so many")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._loose_bytes = 0
        self._units += 1
        self._stop_head_timer()
        if self._is_staying:
            self._is_staying = False
            return
        if len(self._waiting) >= WAITING_LIMIT:
            raise Excess(f"found more than {WAITING_LIMIT} requests sent at once; allowed: at most so many")
        method = self._parser.get_method().decode("ascii")
        is_last = not self._parser.should_keep_alive()
        exchange = Exchange(
            self, scope_of(method, self._url, self._headers, self._parser.get_http_version()), is_last=is_last
        )
        self._incoming = exchange
        self._waiting.append(exchange)
        if len(self._waiting) == 1:
            self._answer(exchange)
        else:
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._loose_bytes = 0
        self._units += 1
        if self._incoming:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        """A body is complete."""
        if self._incoming and not self._parser.should_upgrade():
            self._incoming.complete()
            self._incoming = None
            self._loose_bytes = -1
            self._units += 1

    # Exchanges

    def pause_reading(self) -> None:
        """Let the client wait."""
        if self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let it go on, if nobody else wants it to wait."""
        if not self._is_reading and len(self._waiting) <= 1 and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def go_on(self) -> None:
        """Ask a client that asked for it to send the body."""
        self._transport.write(CONTINUE)

    def abandon(self) -> None:
        """End without an answer: what has broken may have sent a part of one."""
        self._outgoing.end()

    async def send(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """An answer, whole; then the next request's turn comes."""
        if not self._is_answering(exchange):
            return
        is_last = self._is_ending or exchange.is_last or not exchange.is_complete or CLOSE in headers
        ending = (CLOSE,) if is_last and CLOSE not in headers else ()
        head = answer_head(status, self._state.default_headers, headers, ending)
        self._outgoing.write(head, b"" if exchange.scope["method"] == "HEAD" else body)
        if self._outgoing.is_full:
            await self._outgoing.wait_until_taken(len(body))
            if not self._is_answering(exchange):
                return
        if is_last:
            self._end_after(exchange)
        else:
            self._next()

    def _is_answering(self, exchange: Exchange) -> bool:
        """Not if its client is gone, or was refused already."""
        return bool(self._waiting) and self._waiting[0] is exchange and not self._transport.is_closing()

    def _next(self) -> None:
        self._waiting.popleft()
        self._idle_since = self._loop.time()
        if self._waiting:
            self._answer(self._waiting[0])
        self.resume_reading()

    def _end_after(self, exchange: Exchange) -> None:
        self._waiting.clear()
        if exchange.is_complete:
            self._outgoing.end()
        else:
            # A body is left that nobody wants: it would be read as a request.
            self._linger()

    def _answer(self, exchange: Exchange) -> None:
        task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        self._state.total_requests += 1

    # Time and refusals

    def _check_idle(self) -> None:
        """Close if nothing came for long; one timer for the connection's life, for one a request costs."""
        left = (
            self._keep_alive_seconds
            if self._waiting
            else self._idle_since + self._keep_alive_seconds - self._loop.time()
        )
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._check_idle)
        else:
            self._outgoing.end()

    def _check_loose(self, received: int) -> None:
        self._loose_bytes += received
        if self._loose_bytes > HEAD_LIMIT_BYTES:
            where = "besides the body's parts" if self._incoming else "the request's head"
            message = f"{where}: found more than {HEAD_LIMIT_BYTES} bytes; allowed: at most so many"
            self._refuse(refusal(431, message))
        elif self._head_timer is None and not self._incoming:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._refuse_slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_slow_head(self) -> None:
        self._head_timer = None
        if not self._is_reading:
            # It is not the client who is slow.
            self._check_loose(0)
            return
        self._refuse(refusal(408, f"the request's head: not complete within {HEAD_SECONDS:g} s"))

    def _refuse(self, answer: Answer) -> None:
        """Answer what is no request, unless another is being answered: its client would take this for its own."""
        self._stop_head_timer()
        self._is_ending = self._is_deaf = True
        broken = self._incoming
        if broken and self._waiting[0] is broken and not broken.is_answered:
            # The body of the one that is being answered is what broke: it gets this answer.
            broken.lose()
            self._waiting.clear()
        if not self._waiting:
            self._say(answer)
            self._linger()

    def _say(self, answer: Answer) -> None:
        length = (b"content-length", str(len(answer.body)).encode())
        self._outgoing.write(answer_head(answer.status, answer.headers, (length, CLOSE)), answer.body)

    def _linger(self) -> None:
        self._is_deaf = True
        self._outgoing.linger()
        self.resume_reading()
