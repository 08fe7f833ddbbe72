"""Deadlines of many tasks by one timer."""

import asyncio

import pytest

from quanary.server.deadline import Deadlines
from quanary.server.soon import Soon


async def test_a_block_in_time_is_left_alone_and_nothing_is_held() -> None:
    deadlines = Deadlines(30)
    with deadlines.hold():
        await asyncio.sleep(0)
    assert not deadlines._held


async def test_each_of_many_is_ended_at_its_own_time() -> None:
    deadlines = Deadlines(0.05)
    ended: list[int] = []

    async def wait(number: int) -> None:
        await asyncio.sleep(number * 0.01)
        with pytest.raises(TimeoutError), deadlines.hold():
            await asyncio.Event().wait()
        ended.append(number)

    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(wait(number) for number in range(5)))
    assert ended == [0, 1, 2, 3, 4]
    assert asyncio.get_running_loop().time() - started >= 0.089
    assert not deadlines._held


async def test_after_a_quiet_time_it_works_again() -> None:
    deadlines = Deadlines(0.02)
    for _ in range(2):
        with deadlines.hold():
            await asyncio.sleep(0)
        await asyncio.sleep(0.03)
        with pytest.raises(TimeoutError), deadlines.hold():
            await asyncio.sleep(10)


async def test_a_cancellation_from_outside_stays_one() -> None:
    deadlines = Deadlines(30)

    async def wait() -> None:
        with deadlines.hold():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert not deadlines._held


async def test_one_that_ends_as_its_time_does_is_not_cancelled_later() -> None:
    deadlines = Deadlines(0.01)
    with pytest.raises(TimeoutError), deadlines.hold():
        await asyncio.sleep(10)
    await asyncio.sleep(0)  # a cancellation left over would be raised here
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_the_block_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="mine"), Deadlines(30).hold():
        raise ValueError("mine")


async def test_a_result_in_time_is_left_alone_and_is_soon_forgotten() -> None:
    deadlines, told = Deadlines(30), list[object]()
    for number in range(3):
        coming = deadlines.limit(Soon[int](), lambda: -1)
        coming.then(told.append)
        coming.settle(number)
    assert told == [0, 1, 2]
    assert len(deadlines._held) == 1


async def test_of_a_late_result_another_is_told() -> None:
    coming = Soon[int]()
    assert await Deadlines(0.02).limit(coming, lambda: -1) == -1
    assert coming.is_over
    coming.settle(1)


async def test_what_begins_when_another_is_late_needs_no_timer_of_its_own() -> None:
    deadlines = Deadlines(0.01)
    begun, all_begun = 0, asyncio.Event()

    def begin_another(_: int) -> None:
        nonlocal begun
        begun += 1
        if begun < 20:
            deadlines.limit(Soon[int](), lambda: -1).then(begin_another)
        else:
            all_begun.set()

    begin_another(0)
    fired = 0
    expire = deadlines._expire

    def count(loop: asyncio.AbstractEventLoop) -> None:
        nonlocal fired
        fired += 1
        expire(loop)

    deadlines._expire = count  # type: ignore[method-assign]
    await asyncio.wait_for(all_begun.wait(), 20)
    await asyncio.sleep(0.05)
    assert fired <= 20
    assert deadlines._timer is None
