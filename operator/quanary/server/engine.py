"""Inference off the event loop: one worker thread, a bounded queue before it.

`Engine` is the seam for whatever stands between a request and the model: what a wrapper delays, breaks or raises is
seen by the gates and by the comparison as if the model did it.
"""

import asyncio
import contextlib
import queue
import threading
import time
from typing import Any, Final, NamedTuple, Protocol

from numpy.typing import NDArray

from quanary.server.session import Session
from quanary.server.tensors import Tensors

WAITING_LIMIT: Final = 128


class Execution(NamedTuple):
    """All outputs in the model's order, and how long the model itself ran."""

    outputs: dict[str, NDArray[Any]]
    seconds: float


class Overloaded(RuntimeError):  # noqa: N818
    """The queue before the model is full."""


class Engine(Protocol):
    """Whoever turns inputs into outputs."""

    async def infer(self, inputs: Tensors) -> Execution:
        """Run the model; whatever it raises, but `Overloaded`, is the model's failure."""
        ...


class SessionEngine:
    """A session behind its own thread."""

    def __init__(self, session: Session, waiting_limit: int = WAITING_LIMIT) -> None:
        """Start the thread. It is a daemon: an inference that hangs must not keep the process from ending."""
        self._session = session
        self._limit = waiting_limit
        self._waiting: queue.SimpleQueue[tuple[Tensors, asyncio.Future[Execution]]] = queue.SimpleQueue()
        self._held = 0
        threading.Thread(target=self._work, name="inference", daemon=True).start()

    async def infer(self, inputs: Tensors) -> Execution:
        """Run the model when its turn comes; one that is cancelled before never runs.

        Raises:
            Overloaded: too many wait already.
        """
        if self._held >= self._limit:
            message = f"{self._held} requests wait for the model already"
            raise Overloaded(message)
        future: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        self._held += 1
        self._waiting.put((inputs, future))
        return await future

    def _work(self) -> None:
        while True:
            inputs, future = self._waiting.get()
            outcome = None if future.cancelled() else self._run(inputs)
            # The loop is closed when the process is about to end: nobody waits any more.
            with contextlib.suppress(RuntimeError):
                future.get_loop().call_soon_threadsafe(self._hand_over, future, outcome)

    def _run(self, inputs: Tensors) -> Execution | Exception:
        started = time.perf_counter()
        try:
            outputs = self._session.run(inputs)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the asker's answer
            return error
        return Execution(outputs, time.perf_counter() - started)

    def _hand_over(self, future: asyncio.Future[Execution], outcome: Execution | Exception | None) -> None:
        # A place in the queue is free only now: requests past their deadline hold theirs until the thread gets to them.
        self._held -= 1
        if future.done() or outcome is None:
            return
        if isinstance(outcome, Execution):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
