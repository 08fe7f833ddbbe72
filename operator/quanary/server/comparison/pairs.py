"""Sampled answers that wait for their twin's, bounded in number and in bytes."""

import asyncio
from collections import deque
from typing import Final

import msgspec

from quanary.server.comparison.divergence import Array
from quanary.server.tensors import Tensors, held_bytes

QUESTIONS_LIMIT: Final = 64
QUESTIONS_LIMIT_BYTES: Final = 32 * 2**20


class Pair(msgspec.Struct, frozen=True):
    """One answer of this server that waits for its twin's, and only so much of it as is compared."""

    key: int  # of its input
    own: Array
    given: Array | None  # what the user got, if that is another's answer
    execution_seconds: float


class Question(msgspec.Struct, frozen=True):
    """What the twin is to be asked, and what its answer is compared with."""

    inputs: Tensors
    pair: Pair
    asker: str  # whose user it was: the digest of the server that got the request
    hops: int  # servers that have asked by the time the twin is asked

    def held_bytes(self) -> int:
        """How much memory it holds."""
        given = 0 if self.pair.given is None else held_bytes(self.pair.given)
        return sum(map(held_bytes, self.inputs.values())) + held_bytes(self.pair.own) + given


class Waiting:
    """A queue that refuses instead of waiting for room; who came last to take from it is the first to get something.

    So that with few questions one asker has them all, and its connection is enough.
    """

    def __init__(self) -> None:
        """Empty."""
        self._questions: deque[tuple[Question, int]] = deque()
        self._bytes = 0
        self._takers: list[asyncio.Future[None]] = []

    def offer(self, question: Question) -> bool:
        """Whether there was room for it."""
        held = question.held_bytes()
        if len(self._questions) >= QUESTIONS_LIMIT or self._bytes + held > QUESTIONS_LIMIT_BYTES:
            return False
        self._bytes += held
        self._questions.append((question, held))
        while self._takers:
            taker = self._takers.pop()
            if not taker.done():  # it was not cancelled
                taker.set_result(None)
                break
        return True

    async def take(self) -> Question:
        """The oldest, once there is one."""
        while not self._questions:
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            await taker
        question, held = self._questions.popleft()
        self._bytes -= held
        return question
