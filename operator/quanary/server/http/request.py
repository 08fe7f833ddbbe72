"""One request over HTTP: its head, and its body as it comes in."""

import asyncio
from typing import Final, Protocol

from quanary.server.bodies import ClientGone
from quanary.server.http.head import expects_continue

# More of a body is not read before the application has taken this.
BODY_AHEAD_BYTES: Final = 512 * 2**10


class Carrier(Protocol):
    """The connection that a request came by."""

    def pause_reading(self) -> None:
        """Let the client wait."""
        ...

    def resume_reading(self) -> None:
        """Let it go on, if nobody else wants it to wait."""
        ...

    def ask_for_body(self) -> None:
        """The client waits to be asked for it."""
        ...


class HttpRequest:
    """One request; `headers` are by name in lower case."""

    def __init__(
        self, connection: Carrier, method: bytes, path: str, headers: dict[bytes, bytes], *, is_last: bool
    ) -> None:
        """Nothing of the body has come in."""
        self.method = method
        self.path = path
        self.headers = headers
        self.is_last = is_last
        self.is_begun = False  # to be answered
        self.is_complete = False
        self.is_answered = False
        self._connection = connection
        self._is_lost = False
        self._may_await_us = True  # the client, to be asked for the body
        self._parts: list[bytes] = []
        self._ahead_bytes = 0
        self._change: asyncio.Future[None] | None = None

    def feed(self, part: bytes) -> None:
        """A part of the body."""
        self._parts.append(part)
        self._ahead_bytes += len(part)
        if self._ahead_bytes > BODY_AHEAD_BYTES:
            self._connection.pause_reading()
        if self._change:
            self._tell()

    def complete(self) -> None:
        """That was all of the body."""
        self.is_complete = True
        if self._change:
            self._tell()

    def lose(self) -> None:
        """The client is gone."""
        self._is_lost = True
        self._tell()

    def _tell(self) -> None:
        if self._change and not self._change.done():
            self._change.set_result(None)

    def take_whole(self) -> bytes | None:
        """The body if all of it is there already, as most are: that takes no waiting, and so no timer."""
        return self._take() if self.is_complete and not self._is_lost else None

    async def take_part(self) -> tuple[bytes, bool]:
        """A part of the body once there is one, and whether more follow.

        Raises:
            ClientGone: none will.
        """
        if self._may_await_us and not (self.is_complete or self._is_lost) and expects_continue(self.headers):
            self._connection.ask_for_body()
        self._may_await_us = False
        while not (self._parts or self.is_complete or self._is_lost):
            self._change = asyncio.get_running_loop().create_future()
            await self._change
        if self._is_lost:
            raise ClientGone
        return self._take(), not self.is_complete

    def _take(self) -> bytes:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        if self._ahead_bytes > BODY_AHEAD_BYTES:
            self._connection.resume_reading()
        self._ahead_bytes = 0
        return body
