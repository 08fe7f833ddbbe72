"""Messages as they come in, whatever call they belong to: few at a time, and within a time limit.

No message says beforehand how long it will be, and gRPC itself gathers it whole, so nobody can count its bytes before
it is complete. Until its turn comes a call holds no more of it than HTTP/2 lets its client send ahead.
"""

import asyncio
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from quanary.server.bodies import BODY_SECONDS
from quanary.server.data_plane import Answer, refusal
from quanary.server.deadline import Deadlines
from quanary.server.rpc.codes import Context

_Message = TypeVar("_Message", bound=Message)

READING_LIMIT: Final = 8
WAITING_LIMIT: Final = 256
TURN_SECONDS: Final = 5.0


class Reading:
    """All messages of one port that are not complete yet."""

    def __init__(self) -> None:
        """Nobody sends."""
        self._turns = asyncio.Semaphore(READING_LIMIT)
        self._waiting = 0
        self._turn_deadlines = Deadlines(TURN_SECONDS)
        self._deadlines = Deadlines(BODY_SECONDS)

    async def read(self, context: Context) -> bytes | Answer:
        """A call's one message, or why there is none.

        The call must be one whose client streams: gRPC reads all others before it asks anybody.
        """
        if not self._turns.locked():
            await self._turns.acquire()
        elif not await self._wait():
            return refusal(503, f"{READING_LIMIT} messages are being read already")
        try:
            with self._deadlines.hold():
                content = await context.read()
        except TimeoutError:
            return refusal(408, f"message: not complete within {self._deadlines.seconds:g} s")
        finally:
            self._turns.release()
        return content if isinstance(content, bytes) else refusal(400, "no message came, or it was too large")

    async def read_as(self, kind: type[_Message], context: Context) -> _Message | Answer:
        """The same, parsed: its bytes are gone by then, which a refusal's traceback would keep."""
        content = await self.read(context)
        if isinstance(content, Answer):
            return content
        try:
            message: _Message = kind.FromString(content)
        except DecodeError:
            return refusal(400, f"the message is no {kind.DESCRIPTOR.full_name}")
        return message

    async def _wait(self) -> bool:
        """Whether the turn came in time."""
        if self._waiting >= WAITING_LIMIT:
            return False
        self._waiting += 1
        try:
            with self._turn_deadlines.hold():
                await self._turns.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True
