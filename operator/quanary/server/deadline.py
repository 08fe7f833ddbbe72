"""`asyncio.timeout` for very many that all get the same time, at a tenth of its cost.

They end in the order in which they began, so one timer, for the oldest, serves them all.
"""

import asyncio
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from quanary.server.soon import Soon

_T = TypeVar("_T")


class Limited(Protocol):
    """What must be over at its end."""

    end: float  # by the loop's clock

    @property
    def is_over(self) -> bool:
        """Whether it is."""
        ...

    def expire(self) -> None:
        """It is not: make it so."""
        ...


class Deadlines:
    """For the tasks and the results of one event loop."""

    def __init__(self, seconds: float) -> None:
        """Give each that long."""
        self.seconds = seconds
        self._held: deque[Limited] = deque()
        self._timer: TimerHandle | None = None

    def hold(self) -> "Deadline":
        """Let the block of a `with` take so long at most; then it is cancelled and raises TimeoutError."""
        return Deadline(self)

    def limit(self, coming: Soon[_T], late: Callable[[], _T]) -> Soon[_T]:
        """The same result, if it comes in time; after that it is what `late` gives."""
        loop = asyncio.get_running_loop()
        coming.expire_at(loop.time() + self.seconds, late)
        self.add(coming, loop)
        return coming

    def add(self, each: Limited, loop: asyncio.AbstractEventLoop) -> None:
        """Watch one that has begun."""
        self.forget_ended()
        self._held.append(each)
        if self._timer is None:
            self._timer = loop.call_at(each.end, self._expire, loop)

    def forget_ended(self) -> None:
        """Hold no more than run, and those that began after the oldest of them."""
        while self._held and self._held[0].is_over:
            self._held.popleft()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._held and (self._held[0].is_over or self._held[0].end <= now):
            each = self._held.popleft()
            if not each.is_over:
                each.expire()
        # Whatever expired may have begun something else, which found a timer there.
        self._timer = loop.call_at(self._held[0].end, self._expire, loop) if self._held else None


class Deadline:
    """One task's time."""

    __slots__ = ("_cancelling", "_deadlines", "_is_expired", "end", "task")

    def __init__(self, deadlines: Deadlines) -> None:
        """Not begun."""
        self._deadlines = deadlines
        self._is_expired = False
        self._cancelling = 0
        self.end = 0.0
        self.task: asyncio.Task[object] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the block has ended."""
        return self.task is None

    def expire(self) -> None:
        """Cancel the task."""
        assert self.task, "it has not ended"
        self._is_expired = True
        self.task.cancel()

    def __enter__(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self.task = asyncio.current_task(loop)
        assert self.task, "it needs a task to cancel"
        self._cancelling = self.task.cancelling()
        self.end = loop.time() + self._deadlines.seconds
        self._deadlines.add(self, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a cancellation that was this deadline's becomes a TimeoutError, and any other one stays."""
        task, self.task = self.task, None
        self._deadlines.forget_ended()
        if self._is_expired and task and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
