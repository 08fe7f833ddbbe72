"""The worker thread and the event loop as places to run a model, and the bounded room before both."""

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from typing_extensions import override

from quanary.server.engine import Engine, Overloaded
from quanary.server.engine.batch import ALONE, Limit, Plan, Waiting
from quanary.server.engine.inline import InlineEngine
from quanary.server.engine.room import Room
from quanary.server.engine.worker import WorkerEngine
from quanary.server.session import ModelFile, Session
from quanary.server.tensors import Tensors
from quanary.wire import metrics as names
from tests.server import models
from tests.server.running import running

INPUT = {"x": np.ones((1, 4), np.float32)}
BATCHES = Plan(Limit(8, 1000), (1.0, 1.0, 1.0, 1.0), tiny_elements=100)


class Gated(Session):
    """A real session that waits for the test before it runs."""

    def __init__(self, content: bytes) -> None:
        super().__init__(ModelFile(content, ""), 1)
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.rows: list[int] = []

    @override
    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        self.rows.append(len(next(iter(inputs.values()))))
        self.entered.set()
        assert self.leave.wait(30)
        return super().run(inputs)


def gated(content: bytes = b"") -> Gated:
    return Gated(content or models.rowwise())


def open_gate(content: bytes = b"") -> Gated:
    session = gated(content)
    session.leave.set()
    return session


def worker(session: Session, plan: Plan = ALONE, room: Room | None = None) -> WorkerEngine:
    return WorkerEngine(session, plan, room or Room(CollectorRegistry()))


def inline(session: Session, plan: Plan = BATCHES, room: Room | None = None) -> InlineEngine:
    room = room or Room(CollectorRegistry())
    return InlineEngine(session, plan, room, WorkerEngine(session, plan, room))


def asking(engine: Engine, count: int, first: float = 0) -> "list[asyncio.Future[Any]]":
    return [asyncio.ensure_future(engine.infer({"x": np.full((1, 4), first + n, np.float32)})) for n in range(count)]


@pytest.mark.parametrize("place", [worker, inline])
async def test_outputs_come_with_the_model_s_own_time(place: Any) -> None:
    execution = await place(Session(ModelFile(models.classifier(), ""), 1)).infer(INPUT)
    assert list(execution.outputs) == ["scores", "total"]
    assert execution.seconds > 0


@pytest.mark.parametrize("place", [worker, inline])
async def test_a_failing_model_raises_and_the_next_request_is_served(place: Any) -> None:
    engine = place(Session(ModelFile(models.lookup(), ""), 1))
    with pytest.raises(Exception, match="Gather"):
        await engine.infer({"i": np.array([7])})
    assert (await engine.infer({"i": np.array([2])})).outputs["y"].tolist() == [[0, 0, 1]]


async def test_beyond_the_queue_requests_are_refused_at_once() -> None:
    session = gated()
    engine = worker(session, room=Room(CollectorRegistry(), limit=2))
    tasks = asking(engine, 2)
    await asyncio.to_thread(session.entered.wait, 30)
    with pytest.raises(Overloaded, match="2 requests wait"):
        await engine.infer(INPUT)
    session.leave.set()
    await asyncio.gather(*tasks)
    await engine.infer(INPUT)


async def test_requests_past_their_deadline_never_run() -> None:
    session = gated()
    engine = worker(session, BATCHES)
    running = asyncio.ensure_future(engine.infer(INPUT))
    await asyncio.to_thread(session.entered.wait, 30)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.infer(INPUT), 0.05)
    session.leave.set()
    await running
    await engine.infer(INPUT)
    assert session.rows == [1, 1]


async def test_who_waits_no_longer_holds_no_inputs_though_the_model_hangs() -> None:
    session = gated()
    engine = worker(session, BATCHES)
    running = asyncio.ensure_future(engine.infer(INPUT))
    await asyncio.to_thread(session.entered.wait, 30)
    array = np.ones((1, 4), np.float32)
    held = weakref.ref(array)
    late = asyncio.ensure_future(engine.infer({"x": array}))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait((late,))
    del array, late
    gc.collect()
    assert held() is None
    session.leave.set()
    await running


async def test_on_the_loop_a_request_that_is_given_up_before_its_turn_never_runs() -> None:
    session = open_gate()
    engine = inline(session, room=Room(CollectorRegistry(), limit=1))
    waiting = engine.infer(INPUT)
    assert isinstance(waiting, Waiting)
    waiting.give_up()
    await asyncio.sleep(0)
    assert session.rows == []
    await engine.infer(INPUT)  # its place is free again


async def test_while_the_model_runs_requests_gather_and_each_gets_its_own_answer() -> None:
    session, registry = gated(), CollectorRegistry()
    engine = worker(session, BATCHES, Room(registry))
    first = asking(engine, 1)
    await asyncio.to_thread(session.entered.wait, 30)
    more = asking(engine, 11, first=1)
    await asyncio.sleep(0)
    assert registry.get_sample_value(names.QUEUED) == 12
    session.leave.set()
    answers = [execution.outputs["scores"].tolist() for execution in await asyncio.gather(*first, *more)]
    assert answers == [[[n, n, n]] for n in range(12)]
    assert session.rows == [1, 8, 3]
    assert registry.get_sample_value(f"{names.BATCH_SIZE}_count") == 3
    assert registry.get_sample_value(f"{names.BATCH_SIZE}_sum") == 12
    assert registry.get_sample_value(names.QUEUED) == 0


async def test_on_the_loop_requests_of_one_turn_run_as_one() -> None:
    session = open_gate()
    answers = await asyncio.gather(*asking(inline(session), 3))
    assert [execution.outputs["scores"].tolist() for execution in answers] == [[[n, n, n]] for n in range(3)]
    assert session.rows == [3]


async def test_who_asks_while_answers_are_given_has_the_next_turn() -> None:
    session = open_gate()
    engine, turns = inline(session), list[int]()

    def ask(_: object) -> None:
        turns.append(len(session.rows))
        if len(turns) < 3:
            waiting = engine.infer(INPUT)
            assert isinstance(waiting, Waiting)
            waiting.then(ask)

    ask(None)
    for expected in (1, 2):
        await asyncio.sleep(0)
        assert len(session.rows) == expected


@pytest.mark.parametrize("place", [worker, inline])
async def test_of_an_answered_request_no_inputs_are_kept(place: Any) -> None:
    engine = place(open_gate())
    array = np.ones((1, 4), np.float32)
    held = weakref.ref(array)
    waiting = engine.infer({"x": array})
    del array
    await waiting
    await asyncio.sleep(0.05)  # the thread lets go of it
    gc.collect()
    assert held() is None
    assert waiting.is_over


async def test_what_would_hold_up_the_loop_goes_to_the_thread() -> None:
    session = gated()
    task = asyncio.ensure_future(inline(session).infer({"x": np.ones((26, 4), np.float32)}))
    await asyncio.to_thread(session.entered.wait, 30)  # on the loop this would wait for ever
    session.leave.set()
    assert len((await task).outputs["scores"]) == 26


@pytest.mark.parametrize("place", [worker, inline])
async def test_in_a_batch_a_bad_input_fails_alone(place: Any) -> None:
    session = gated(models.lookup())
    engine = place(session, BATCHES)
    if place is inline:
        session.leave.set()
    indices = (0, 7, 2)
    tasks = [asyncio.ensure_future(engine.infer({"i": np.array([index])})) for index in indices]
    if place is worker:
        await asyncio.to_thread(session.entered.wait, 30)
        tasks += [asyncio.ensure_future(engine.infer({"i": np.array([index])})) for index in indices]
        await asyncio.sleep(0)
        session.leave.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert max(session.rows) > 1
    for index, outcome in zip(indices * 2, outcomes, strict=False):
        assert isinstance(outcome, Exception) == (index == 7)


async def test_a_served_model_is_swept_before_it_is_ready_and_its_batches_are_seen(tmp_path: Path) -> None:
    async with running(models.write(tmp_path, models.rowwise()), max_batch=4) as server:
        answers = await asyncio.gather(*(server.infer([n, n, n, n]) for n in range(6)))
        assert [answer.json()["outputs"][0]["data"] for answer in answers] == [[n, n, n] for n in range(6)]
        counts = await server.counts("metrics")
    assert counts["batch_size_requests_sum"] == 6
    assert 2 <= counts["batch_size_requests_count"] <= 6
    assert counts["queued_requests"] == 0
