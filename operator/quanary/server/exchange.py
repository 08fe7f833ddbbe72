"""One request over HTTP and its answer, as an ASGI application sees them."""

import asyncio
from typing import Final, Protocol

import structlog

from quanary.server.asgi import WHOLE_BODY, Application, Message, Scope
from quanary.server.data_plane import Headers
from quanary.server.head import expects_continue

# More of a body is not read before the application has taken this.
BODY_AHEAD_BYTES: Final = 512 * 2**10
_log = structlog.get_logger(__name__)


class Carrier(Protocol):
    """The connection that a request came by."""

    def pause_reading(self) -> None:
        """Let the client wait."""
        ...

    def resume_reading(self) -> None:
        """Let it go on, if nobody else wants it to wait."""
        ...

    def go_on(self) -> None:
        """Ask a client that waits to be asked for the body."""
        ...

    def abandon(self) -> None:
        """End without an answer."""
        ...

    async def send(self, exchange: "Exchange", status: int, headers: Headers, body: bytes) -> None:
        """Send an answer, whole."""
        ...


class Exchange:
    """One request and its answer."""

    def __init__(self, connection: Carrier, scope: Scope, *, is_last: bool) -> None:
        """Nothing of the body has come in."""
        self.scope = scope
        scope["extensions"] = {WHOLE_BODY: self._whole_body}
        self.is_last = is_last
        self.is_complete = False
        self._connection = connection
        self._is_lost = False
        self.is_answered = False
        self._may_await_us = True  # the client, to be asked for the body
        self._parts: list[bytes] = []
        self._ahead_bytes = 0
        self._change: asyncio.Future[None] | None = None
        self._status = 0
        self._answer_headers: Headers = ()

    async def run(self, app: Application) -> None:
        """Let the application answer."""
        try:
            await app(self.scope, self._receive, self._send)
        except Exception:  # noqa: BLE001  whatever it is, it ends this request alone
            _log.exception("answering failed", path=self.scope["path"])
        finally:
            if not self.is_answered:
                self._connection.abandon()

    def feed(self, part: bytes) -> None:
        """A part of the body."""
        self._parts.append(part)
        self._ahead_bytes += len(part)
        if self._ahead_bytes > BODY_AHEAD_BYTES:
            self._connection.pause_reading()
        self._tell()

    def complete(self) -> None:
        """That was all of the body."""
        self.is_complete = True
        self._tell()

    def lose(self) -> None:
        """The client is gone."""
        self._is_lost = True
        self._tell()

    def _tell(self) -> None:
        if self._change and not self._change.done():
            self._change.set_result(None)

    async def _receive(self) -> Message:
        if self._may_await_us and not self.is_complete and expects_continue(self.scope["headers"]):
            self._connection.go_on()
        self._may_await_us = False
        while not (self._parts or self.is_complete or self._is_lost):
            self._change = asyncio.get_running_loop().create_future()
            await self._change
        if self._is_lost:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._take(), "more_body": not self.is_complete}

    def _whole_body(self) -> bytes | None:
        """The body if all of it is there already, as most are: that takes no waiting, and so no timer."""
        return self._take() if self.is_complete and not self._is_lost else None

    def _take(self) -> bytes:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._ahead_bytes = 0
        self._connection.resume_reading()
        return body

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._answer_headers = message["status"], message["headers"]
            return
        self.is_answered = True
        await self._connection.send(self, self._status, self._answer_headers, message["body"])
