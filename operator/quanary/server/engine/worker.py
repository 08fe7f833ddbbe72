"""Inference off the event loop: one worker thread that takes, whenever it is free, all that can run as one."""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Awaitable

from quanary.server.engine import Execution
from quanary.server.engine.batch import Outcome, Plan, Waiting, run, take
from quanary.server.engine.room import Room
from quanary.server.session import Session
from quanary.server.tensors import Tensors


class WorkerEngine:
    """A session behind its own thread. While it runs, requests gather; nobody is ever kept waiting for company."""

    def __init__(self, session: Session, plan: Plan, room: Room) -> None:
        """Start the thread. It is a daemon: an inference that hangs must not keep the process from ending."""
        self._session = session
        self._plan = plan
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._incoming: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="inference", daemon=True).start()

    def infer(self, inputs: Tensors) -> Awaitable[Execution]:
        """Run the model when its turn comes; one that is given up before never runs.

        One that was just taken into a batch makes that fail, and the others have a run each.

        Raises:
            Overloaded: too many wait already.
        """
        self._room.enter()
        waiting = Waiting(inputs)
        self._incoming.put(waiting)
        return waiting

    def _work(self) -> None:
        backlog: deque[Waiting] = deque()
        while True:
            if not backlog:
                backlog.append(self._incoming.get())
            with contextlib.suppress(queue.Empty):
                while True:
                    backlog.append(self._incoming.get_nowait())
            before = len(backlog)
            batch = take(backlog, self._plan.limit)
            outcomes = run(self._session, batch, self._plan) if batch else []
            # The loop is closed when the process is about to end: nobody waits any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hand_over, batch, outcomes, before - len(backlog))
            # Until the next request comes nothing of these is held.
            del batch, outcomes

    def _hand_over(self, batch: list[Waiting], outcomes: list[Outcome], places: int) -> None:
        # Places are free only now: requests past their deadline hold theirs until the thread gets to them.
        self._room.leave(places)
        if batch:
            self._room.count_batch(len(batch))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.settle(outcome)
