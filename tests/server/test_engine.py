"""The worker thread and the queue before it."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

from quanary.server.engine import Overloaded, SessionEngine
from quanary.server.session import ModelFile, Session
from quanary.server.tensors import Tensors
from tests.server import models

INPUT = {"x": np.ones((1, 4), np.float32)}


class Gated(Session):
    """A real session that waits for the test before it runs."""

    def __init__(self) -> None:
        super().__init__(ModelFile(models.classifier(), ""), 1)
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.runs = 0

    @override
    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.runs += 1
        self.entered.set()
        assert self.leave.wait(30)
        return super().run(inputs)


async def test_outputs_come_with_the_model_s_own_time() -> None:
    engine = SessionEngine(Session(ModelFile(models.classifier(), ""), 1))
    execution = await engine.infer(INPUT)
    assert list(execution.outputs) == ["scores", "total"]
    assert execution.seconds > 0


async def test_a_failing_model_raises_and_the_next_request_is_served() -> None:
    engine = SessionEngine(Session(ModelFile(models.lookup(), ""), 1))
    with pytest.raises(Exception, match="Gather"):
        await engine.infer({"i": np.array([7])})
    assert (await engine.infer({"i": np.array([2])})).outputs["y"].tolist() == [[0, 0, 1]]


async def test_beyond_the_queue_requests_are_refused_at_once() -> None:
    session = Gated()
    engine = SessionEngine(session, waiting_limit=2)
    tasks = [asyncio.create_task(engine.infer(INPUT)) for _ in range(2)]
    await asyncio.to_thread(session.entered.wait, 30)
    with pytest.raises(Overloaded, match="2 requests wait"):
        await engine.infer(INPUT)
    session.leave.set()
    await asyncio.gather(*tasks)
    await engine.infer(INPUT)


async def test_requests_past_their_deadline_never_run() -> None:
    session = Gated()
    engine = SessionEngine(session)
    running = asyncio.create_task(engine.infer(INPUT))
    await asyncio.to_thread(session.entered.wait, 30)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.infer(INPUT), 0.05)
    session.leave.set()
    await running
    await engine.infer(INPUT)
    assert session.runs == 2
