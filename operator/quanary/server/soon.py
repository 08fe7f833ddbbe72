"""Results that may be there at once, or are yet to come.

To wait for one takes a task, which costs more than all else that is done for a tiny model's request, and several times
as much between the runs of a large one. So on the way of an inference nobody waits: what follows is called.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Self, TypeVar

_T = TypeVar("_T")
_Next = TypeVar("_Next")
Failed = Callable[[Exception], _Next]


class There:
    """A result that is there already, where one that is yet to come may stand: awaiting it gives itself."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, Self]:
        """Itself."""
        return self
        yield


class Soon(Generic[_T]):
    """A result that is yet to come, and the steps that make something else of it then. For the event loop alone."""

    __slots__ = ("_late", "_late_steps", "_result", "_steps", "end", "is_over")

    def __init__(self) -> None:
        """It has not come."""
        self.is_over = False  # it has come, or nobody wants it any more
        self._steps: list[tuple[Callable[[Any], Any], Failed[Any] | None]] = []
        self._result: Any = None  # until somebody follows

    def then(self, go_on: Callable[[_T], _Next], failed: Failed[_Next] | None = None) -> "Soon[_Next]":
        """What `go_on` makes of it, or `failed` of the exception in its place. Whatever one raises is such a one.

        It becomes that itself: only one may follow, or await it.
        """
        self._steps.append((go_on, failed))
        if self.is_over:
            self._go(self._result, 0)
        return self  # type: ignore[return-value]  # it is of another type with each step

    def settle(self, result: _T | Exception) -> None:
        """It has come, or failed; one that comes when all is over is nobody's."""
        if not self.is_over:
            self.is_over = True
            self._go(result, 0)

    def expire_at(self, end: float, late: Callable[[], _T]) -> None:
        """What `late` gives may take its place, for the steps that are not there yet."""
        self.end = end
        self._late = late
        self._late_steps = len(self._steps)

    def expire(self) -> None:
        """It is late."""
        self.give_up()
        self._go(self._late(), self._late_steps)

    def give_up(self) -> None:
        """Nobody wants it any more."""
        self.is_over = True

    def _go(self, result: Any, first: int) -> None:
        steps, self._steps = self._steps, []
        for go_on, failed in steps[first:] if first else steps:
            try:
                if not isinstance(result, Exception):
                    result = go_on(result)
                elif failed:
                    result = failed(result)
            except Exception as error:  # noqa: BLE001  told to the next
                result = error
        self._result = result

    def __await__(self) -> Generator[Any, None, _T]:
        """Wait for it, in a task; if that is cancelled, it is given up. Raises what it failed with."""
        come = asyncio.get_running_loop().create_future()
        told: list[Any] = []

        def tell(result: Any) -> None:
            told.append(result)
            if not come.done():
                come.set_result(None)

        self.then(tell, tell)
        try:
            yield from come.__await__()
        except asyncio.CancelledError:
            self.give_up()
            raise
        result = told.pop()
        if not isinstance(result, Exception):
            return result  # type: ignore[no-any-return]
        try:
            raise result
        finally:
            # Its traceback holds this frame: if this held it, both would stay, and the inputs with them.
            del result


def follow(
    coming: Awaitable[_T], go_on: Callable[[_T], _Next], failed: Failed[_Next] | None = None
) -> Awaitable[_Next]:
    """What `go_on` makes of a result, or `failed` of the exception in its place; at once if it is there already.

    Whatever one raises is raised at once, or is the failure of what is returned. What one returns must be one that may
    be awaited (`There`).
    """
    if isinstance(coming, Soon):
        return coming.then(go_on, failed)
    if isinstance(coming, There):
        return go_on(coming)
    return _follow_later(coming, go_on, failed)


async def _follow_later(coming: Awaitable[_T], go_on: Callable[[_T], _Next], failed: Failed[_Next] | None) -> _Next:
    try:
        result = await coming
    except Exception as error:
        if failed is None:
            raise
        return failed(error)
    return go_on(result)
