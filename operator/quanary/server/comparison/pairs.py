"""Sampled answers that wait for their twin's, bounded in number and in bytes."""

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from quanary.server.comparison.divergence import Array
from quanary.server.tensors import Tensors, held_bytes

PAIRS_LIMIT: Final = 64
PAIRS_LIMIT_BYTES: Final = 32 * 2**20


@dataclass(frozen=True)
class Pair:
    """One answer of this server that waits for its twin's, and only so much of it as is compared."""

    key: bytes
    inputs: Tensors
    own: Array
    given: Array | None  # what the user got, if that is another's answer
    execution_seconds: float
    asker: str  # whose user it was: the digest of the server that got the request
    hops: int  # servers that have asked by the time the twin is asked

    @cached_property
    def size_bytes(self) -> int:
        """How much memory it holds."""
        given = () if self.given is None else (self.given,)
        return sum(map(held_bytes, (*self.inputs.values(), self.own, *given)))


class Waiting:
    """A queue that refuses instead of waiting for room."""

    def __init__(self) -> None:
        """Empty."""
        self._queue: asyncio.Queue[Pair] = asyncio.Queue(PAIRS_LIMIT)
        self._bytes = 0

    def offer(self, pair: Pair) -> bool:
        """Whether there was room for it."""
        if self._queue.full() or self._bytes + pair.size_bytes > PAIRS_LIMIT_BYTES:
            return False
        self._bytes += pair.size_bytes
        self._queue.put_nowait(pair)
        return True

    async def take(self) -> Pair:
        """The oldest, once there is one."""
        pair = await self._queue.get()
        self._bytes -= pair.size_bytes
        return pair
