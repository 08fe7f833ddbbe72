"""One HTTP/1.1 connection: requests in, the answers of an ASGI application out, with little of its own in between.

It stands where uvicorn's own would, and costs about half as much: of a tiny model's request that was the most. It
takes no more than our applications give: an answer is one body of known length.
"""

import asyncio
from asyncio import TimerHandle
from collections import deque
from typing import Any, Final

import uvicorn
from typing_extensions import override
from uvicorn.server import ServerState

from quanary.server.asgi import CLOSE, Refused
from quanary.server.data_plane import Answer, Headers, refusal
from quanary.server.exchange import Exchange
from quanary.server.head import answer_head
from quanary.server.incoming import Incoming
from quanary.server.outgoing import Outgoing

HEAD_SECONDS: Final = 10.0
CONNECTIONS_LIMIT: Final = 2000
# Requests that wait on one connection: reading stops at the second, but many may have come in with it.
WAITING_LIMIT: Final = 64
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        self._transport: Any = None
        self._incoming = Incoming(self, self._begin)
        self._outgoing: Outgoing  # there with the transport
        self._idle_since = self._loop.time()
        self._idle_timer: TimerHandle | None = None
        self._head_timer: TimerHandle | None = None
        self._waiting: deque[Exchange] = deque()  # the first is being answered
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
        if self._incoming.exchange or not self._waiting:
            return False
        self._waiting[-1].is_last = True
        return True

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_deaf or self._transport.is_closing():
            return
        try:
            is_within_head = self._incoming.feed(data)
        except Refused as refused:
            self._refuse(refused.answer)
            return
        if is_within_head and self._head_timer is None:
            self._await_head()

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

    # Exchanges

    def _begin(self, exchange: Exchange) -> None:
        """A head is complete: the request's turn is now, or later.

        Raises:
            Refused: too many wait for theirs.
        """
        if self._head_timer:
            self._stop_head_timer()
        if len(self._waiting) >= WAITING_LIMIT:
            message = f"found more than {WAITING_LIMIT} requests sent at once; allowed: at most so many"
            raise Refused(refusal(431, message))
        self._waiting.append(exchange)
        if len(self._waiting) == 1:
            self._answer(exchange)
        else:
            self.pause_reading()

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

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self._refuse_slow_head)

    def _stop_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_slow_head(self) -> None:
        self._head_timer = None
        if not self._is_reading:
            # It is not the client who is slow.
            self._await_head()
            return
        self._refuse(refusal(408, f"the request's head: not complete within {HEAD_SECONDS:g} s"))

    def _refuse(self, answer: Answer) -> None:
        """Answer what is no request, unless another is being answered: its client would take this for its own."""
        self._stop_head_timer()
        self._is_ending = self._is_deaf = True
        broken = self._incoming.exchange
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
