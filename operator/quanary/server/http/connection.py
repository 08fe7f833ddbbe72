"""One HTTP/1.1 connection: requests in, the answers of an application out."""

import asyncio
from asyncio import TimerHandle
from collections import deque
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

import structlog
from typing_extensions import override

from quanary.server.bodies import ClientGone
from quanary.server.data_plane import CLOSE, Answer, Refused, refusal
from quanary.server.http.application import Application
from quanary.server.http.head import answer_head
from quanary.server.http.incoming import Incoming
from quanary.server.http.outgoing import Outgoing
from quanary.server.http.request import HttpRequest
from quanary.server.soon import Soon

HEAD_SECONDS: Final = 10.0
CONNECTIONS_LIMIT: Final = 2000
# Requests that wait on one connection: reading stops at the second, but many may have come in with it.
WAITING_LIMIT: Final = 64
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_log = structlog.get_logger(__name__)


class Port(Protocol):
    """What the connections of one port share."""

    app: Application
    keep_alive_seconds: float
    connections: set["Connection"]
    tasks: set["asyncio.Task[None]"]

    def enter(self, connection: "Connection") -> None:
        """It has begun."""
        ...

    def leave(self, connection: "Connection") -> None:
        """It has ended."""
        ...


class Connection(asyncio.Protocol):
    """Request heads are bounded in length and time; of several requests sent at once one is answered after the other.

    Who can be answered without waiting is: there is a task only for others.
    """

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing has come in."""
        self._port = port
        self._app = port.app
        self._loop = loop
        self._transport: Any = None
        self._incoming = Incoming(self, self._admit)
        self._outgoing: Outgoing  # there with the transport
        self._idle_since = loop.time()
        self._idle_timer: TimerHandle | None = None
        self._head_timer: TimerHandle | None = None
        self._waiting: deque[HttpRequest] = deque()  # the first is being answered
        self._is_reading = True
        self._is_ending = False
        self._is_deaf = False  # what comes in is of no use any more

    # The transport

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._outgoing = Outgoing(transport, self._loop)
        self._port.enter(self)
        if len(self._port.connections) > CONNECTIONS_LIMIT:
            self._write(refusal(503, f"{CONNECTIONS_LIMIT} connections are open already"), is_last=True)
            self._outgoing.end()
        elif not self._is_ending:
            self._check_idle()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._port.leave(self)
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
        if self._incoming.request or not self._waiting:
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
            is_within_head = False
        self._answer_first()
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

    def abort(self) -> None:
        """End now, whatever runs."""
        self._transport.abort()

    # Requests

    def _admit(self, request: HttpRequest) -> None:
        """A head is complete: the request's turn is now, or later.

        Raises:
            Refused: too many wait for theirs.
        """
        if self._head_timer:
            self._stop_head_timer()
        if len(self._waiting) >= WAITING_LIMIT:
            message = f"found more than {WAITING_LIMIT} requests sent at once; allowed: at most so many"
            raise Refused(refusal(431, message))
        self._waiting.append(request)
        if len(self._waiting) > 1:
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

    def ask_for_body(self) -> None:
        """The client waits to be asked for it."""
        self._transport.write(CONTINUE)

    def _answer_first(self) -> None:
        """Begin with the first that waits, and with the next as long as they are answered at once."""
        while self._waiting and not (request := self._waiting[0]).is_begun:
            request.is_begun = True
            try:
                answer = self._app.answer(request)
            except Exception as error:  # noqa: BLE001  whatever it is, it ends this connection alone
                self._abandon(request, error)
                return
            if isinstance(answer, Answer):
                self._send(request, answer)
            elif isinstance(answer, Soon):
                told = partial(self._told, request)
                answer.then(told, told)
            else:
                self._begin_task(self._answer_later(request, answer))

    def _told(self, request: HttpRequest, told: Answer | Exception) -> None:
        if isinstance(told, Exception):
            self._abandon(request, told)
            return
        try:
            self._send(request, told)
            self._answer_first()
        except Exception as error:  # noqa: BLE001  nobody above would say so
            self._abandon(request, error)

    async def _answer_later(self, request: HttpRequest, coming: Awaitable[Answer]) -> None:
        answer: Answer | Exception
        try:
            answer = await coming
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001
            answer = error
        self._told(request, answer)

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._port.tasks.add(task)
        task.add_done_callback(self._port.tasks.discard)

    def _abandon(self, request: HttpRequest, error: Exception) -> None:
        """End without an answer."""
        _log.error("answering failed", path=request.path, exc_info=error)
        self._outgoing.end()

    def _send(self, request: HttpRequest, answer: Answer) -> None:
        """An answer, whole; then the next request's turn comes."""
        if self._is_answering(request):
            request.is_answered = True
            is_last = self._is_ending or request.is_last or not request.is_complete or CLOSE in answer.headers
            self._write(answer, is_last=is_last, has_body=request.method != b"HEAD")
            if self._outgoing.is_full:
                self._begin_task(self._go_on_when_taken(request, len(answer.body), is_last=is_last))
            else:
                self._go_on(request, is_last=is_last)
        try:
            self._app.after(answer)
        except Exception:  # noqa: BLE001  whoever asked has the answer
            _log.exception("what follows an answer failed", path=request.path)

    def _write(self, answer: Answer, *, is_last: bool, has_body: bool = True) -> None:
        headers = (*answer.headers, CLOSE) if is_last and CLOSE not in answer.headers else answer.headers
        body = answer.body
        self._outgoing.write(answer_head(answer.status, headers, len(body)), body if has_body else b"")

    async def _go_on_when_taken(self, request: HttpRequest, size: int, *, is_last: bool) -> None:
        await self._outgoing.wait_until_taken(size)
        if self._is_answering(request):
            self._go_on(request, is_last=is_last or request.is_last)
            self._answer_first()

    def _is_answering(self, request: HttpRequest) -> bool:
        """Not if its client is gone, or was refused already."""
        return bool(self._waiting) and self._waiting[0] is request and not self._transport.is_closing()

    def _go_on(self, request: HttpRequest, *, is_last: bool) -> None:
        if not is_last:
            self._waiting.popleft()
            self._idle_since = self._loop.time()
            if not self._is_reading:
                self.resume_reading()
            if self._is_ending and not self._waiting:  # since the answer began to leave
                self._outgoing.end()
            return
        self._waiting.clear()
        if request.is_complete:
            self._outgoing.end()
        else:
            # A body is left that nobody wants: it would be read as a request.
            self._linger()

    # Time and refusals

    def _check_idle(self) -> None:
        """Close if nothing came for long; one timer for the connection's life, for one a request costs."""
        left = (
            self._port.keep_alive_seconds
            if self._waiting
            else self._idle_since + self._port.keep_alive_seconds - self._loop.time()
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
        broken = self._incoming.request
        if broken and self._waiting[0] is broken and not broken.is_answered:
            # The body of the one that is being answered is what broke: it gets this answer.
            broken.lose()
            self._waiting.clear()
        if not self._waiting:
            self._write(answer, is_last=True)
            self._linger()

    def _linger(self) -> None:
        self._is_deaf = True
        self._outgoing.linger()
        self.resume_reading()
