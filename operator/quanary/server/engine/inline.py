"""Inference on the event loop, for models so small that waking a thread costs more than they do."""

import asyncio
from collections import deque
from collections.abc import Awaitable

from quanary.server.engine import Engine, Execution
from quanary.server.engine.batch import Plan, Waiting, run, take
from quanary.server.engine.room import Room
from quanary.server.session import Session
from quanary.server.tensors import Tensors


class InlineEngine:
    """A session on the event loop: requests that came in the same turn of the loop run as one."""

    def __init__(self, session: Session, plan: Plan, room: Room, large: Engine) -> None:
        """Leave to `large` what is larger than what the plan was measured with: it would hold up the loop."""
        self._session = session
        self._plan = plan
        self._room = room
        self._large = large
        self._backlog: deque[Waiting] = deque()

    def infer(self, inputs: Tensors) -> Awaitable[Execution]:
        """Run the model at the end of this turn; one that is given up before never runs.

        Raises:
            Overloaded: too many wait already.
        """
        waiting = Waiting(inputs)
        if waiting.elements > self._plan.tiny_elements:
            return self._large.infer(inputs)
        self._room.enter()
        if not self._backlog:
            asyncio.get_running_loop().call_soon(self._run_all)
        self._backlog.append(waiting)
        return waiting

    def _run_all(self) -> None:
        # Whoever asks while these are answered has the next turn: others on the loop must not wait for all of them.
        backlog, self._backlog = self._backlog, deque()
        while before := len(backlog):
            batch = take(backlog, self._plan.limit)
            self._room.leave(before - len(backlog))
            if not batch:
                return
            self._room.count_batch(len(batch))
            for waiting, outcome in zip(batch, run(self._session, batch, self._plan), strict=True):
                waiting.settle(outcome)
