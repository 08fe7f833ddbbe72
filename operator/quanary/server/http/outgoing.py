"""What is sent over one connection, and how that ends: a client has some time to take it, and no more."""

import asyncio
from asyncio import TimerHandle
from typing import Any, ClassVar, Final

from quanary.server.bodies import BODY_SECONDS

# A longer answer is not copied to be sent in one piece with its head.
JOINED_BYTES: Final = 16 * 2**10
# As long as a client has to send its body it has to take its answer.
TAKE_SECONDS: Final = BODY_SECONDS
# All answers that clients are slow to take; beyond that the next such client is given up.
UNTAKEN_LIMIT_BYTES: Final = 256 * 2**20
LINGER_SECONDS: Final = 5.0


class Outgoing:
    """One transport, as far as it is written to."""

    untaken_bytes: ClassVar[int] = 0  # of all connections of this process

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is sent."""
        self._transport = transport
        self._loop = loop
        self.is_full = False  # the client is slow to take what it was sent
        self._room: asyncio.Future[None] | None = None  # then: until it has taken it
        self._timer: TimerHandle | None = None  # until the client is given up
        self._is_last = False

    def pause(self) -> None:
        """The client does not take what it was sent."""
        self.is_full = True
        self._room = self._room or self._loop.create_future()
        self._give_up_after(TAKE_SECONDS)

    def resume(self) -> None:
        """It takes it."""
        if self._room and not self._room.done():
            self._room.set_result(None)
        self.is_full = False
        self._room = None
        if not self._is_last:
            self._stop_timer()

    def write(self, head: bytes, body: bytes) -> None:
        """Send an answer."""
        if len(body) <= JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    async def wait_until_taken(self, size: int) -> None:
        """Wait while it is full, with an answer of `size` bytes; if the client is given up, that ends too."""
        room = self._room
        if room is None:
            return
        Outgoing.untaken_bytes += size
        try:
            if Outgoing.untaken_bytes > UNTAKEN_LIMIT_BYTES:
                self._transport.abort()
            await room
        finally:
            Outgoing.untaken_bytes -= size

    def end(self) -> None:
        """Close, once the client has taken what it was sent, or has had the time to."""
        self._is_last = True
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._give_up_after(TAKE_SECONDS)

    def linger(self) -> None:
        """Close, but hear a client out that may be sending still: its system would throw the answer away unread."""
        self._is_last = True
        self._transport.write_eof()
        self._give_up_after(LINGER_SECONDS)

    def lose(self) -> None:
        """The client is gone."""
        self._stop_timer()
        self.resume()

    def _give_up_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
