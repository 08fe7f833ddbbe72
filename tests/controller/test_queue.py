import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import structlog

from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics
from quanary.controller.queue import LONGEST_BACKOFF_SECONDS, Queue, Work
from tests.controller.waiting import until

A, B, C = (ModelKey("ns", name) for name in "abc")


@asynccontextmanager
async def running(work: Work, workers: int = 1) -> AsyncIterator[Queue]:
    queue = Queue(work, Metrics(), random.Random(0))
    task = asyncio.create_task(queue.run(workers))
    try:
        yield queue
    finally:
        await queue.close()
        await task


async def test_a_key_added_twice_is_worked_once_and_again_when_added_during_its_run() -> None:
    runs: list[ModelKey] = []
    gate = asyncio.Event()

    async def work(key: ModelKey) -> None:
        runs.append(key)
        await gate.wait()

    async with running(work, workers=3) as queue:
        queue.add(A)
        queue.add(A)
        await until(lambda: runs)
        queue.add(A)
        queue.add(A)
        queue.add(B)
        await until(lambda: B in runs)
        assert runs == [A, B], "one run of a key at a time, whatever workers are free"
        gate.set()
        await until(lambda: len(runs) == 3)
    assert runs == [A, B, A]


async def test_failures_wait_longer_and_longer_and_success_forgets_them() -> None:
    outcomes = [OSError("gone")] * 3 + [None]
    waits: list[float] = []

    async def work(key: ModelKey) -> None:
        if error := outcomes.pop(0):
            raise error

    async with running(work) as queue:
        add_after = queue.add_after

        def at_once(key: ModelKey, delay: timedelta) -> None:
            waits.append(delay.total_seconds())
            add_after(key, timedelta(0))

        queue.add_after = at_once  # type: ignore[method-assign]
        queue.add(A)
        await until(lambda: not outcomes)
        outcomes.append(OSError("gone again"))
        queue.add(A)
        await until(lambda: len(waits) == 4)
        outcomes.append(None)
    for wait, full in zip(waits, (0.2, 0.4, 0.8, 0.2), strict=True):
        assert 0.8 * full <= wait <= full


def test_backoff_ends_at_its_longest() -> None:
    async def work(key: ModelKey) -> None: ...

    queue = Queue(work, Metrics(), random.Random(0))
    waits = [queue._backoff(A).total_seconds() for _ in range(2000)]
    assert 0.8 * LONGEST_BACKOFF_SECONDS <= waits[-1] <= LONGEST_BACKOFF_SECONDS


async def test_it_looks_again_when_the_work_says_so_and_the_earlier_wish_wins() -> None:
    runs: list[ModelKey] = []

    async def work(key: ModelKey) -> timedelta | None:
        runs.append(key)
        return timedelta(hours=1) if len(runs) == 1 else None

    async with running(work) as queue:
        queue.add(A)
        await until(lambda: A in queue._timers)
        far = queue._timers[A].when()
        queue.add_after(A, timedelta(hours=2))
        assert queue._timers[A].when() == far
        queue.add_after(A, timedelta(0))
        await until(lambda: len(runs) == 2)
        assert A not in queue._timers, "the hour was forgotten when the key ran"


async def test_urgent_keys_overtake() -> None:
    runs: list[ModelKey] = []
    gate = asyncio.Event()

    async def work(key: ModelKey) -> None:
        runs.append(key)
        await gate.wait()

    async with running(work) as queue:
        queue.add(A)
        await until(lambda: runs)
        queue.add(B)
        queue.add(C, urgent=True)
        gate.set()
        await until(lambda: len(runs) == 3)
    assert runs == [A, C, B]


async def test_a_waiting_key_becomes_urgent() -> None:
    runs: list[ModelKey] = []
    gate = asyncio.Event()

    async def work(key: ModelKey) -> None:
        runs.append(key)
        await gate.wait()

    async with running(work) as queue:
        queue.add(A)
        await until(lambda: runs)
        queue.add_all([B, C])
        queue.add(C, urgent=True)
        gate.set()
        await until(lambda: len(runs) == 3)
    assert runs == [A, C, B]


async def test_close_finishes_what_runs_and_begins_nothing() -> None:
    runs: list[ModelKey] = []
    finished: list[ModelKey] = []
    gate = asyncio.Event()

    async def work(key: ModelKey) -> None:
        runs.append(key)
        await gate.wait()
        finished.append(key)

    queue = Queue(work, Metrics())
    task = asyncio.create_task(queue.run(1))
    queue.add_all([A, B])
    await until(lambda: runs)
    assert queue.longest_running_seconds() > 0
    await queue.close()
    gate.set()
    async with asyncio.timeout(20):
        await task
    assert (runs, finished) == ([A], [A])


async def test_it_measures_itself() -> None:
    metrics = Metrics()

    async def work(key: ModelKey) -> None:
        if key == B:
            raise OSError("gone")

    queue = Queue(work, metrics)
    queue.add_all([A, B])
    assert metrics.registry.get_sample_value("quanary_queue_depth") == 2
    task = asyncio.create_task(queue.run(1))

    def count(result: str) -> float | None:
        return metrics.registry.get_sample_value("quanary_reconcile_seconds_count", {"result": result})

    await until(lambda: count("failure") == 1 and count("success") == 1)
    await queue.close()
    await task
    assert metrics.registry.get_sample_value("quanary_queue_depth") == 0


@pytest.mark.parametrize("workers", [1, 4])
async def test_nothing_is_lost_under_load(workers: int) -> None:
    latest: dict[ModelKey, int] = {}
    worked: dict[ModelKey, int] = {}
    chance = random.Random(7)

    async def work(key: ModelKey) -> None:
        seen = latest[key]
        await asyncio.sleep(0)
        if chance.random() < 0.05:
            queue.add(key)
        worked[key] = seen

    async with running(work, workers) as queue:
        for number in range(2000):
            key = ModelKey("ns", f"m{chance.randrange(50)}")
            latest[key] = number
            queue.add(key, urgent=chance.random() < 0.1)
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: worked == latest)


async def test_a_failure_is_logged_with_what_the_work_had_bound() -> None:
    async def work(key: ModelKey) -> None:
        structlog.contextvars.bind_contextvars(name=key.name)
        raise OSError("gone")

    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with running(work) as queue:
            queue.add(A)
            await until(lambda: lines)
    assert (lines[0]["name"], lines[0]["error"]) == ("a", "gone")
    assert lines[0]["retry_seconds"] <= 0.2
