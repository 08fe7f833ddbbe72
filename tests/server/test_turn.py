"""One at a time."""

import asyncio

from quanary.server.turn import Turn


async def test_who_comes_first_takes_it_and_others_follow_in_order() -> None:
    turn, order = Turn(), list[int]()

    async def take(number: int) -> None:
        await turn.take()
        order.append(number)

    assert turn.try_take()
    assert not turn.try_take()
    waiting = [asyncio.create_task(take(number)) for number in range(2)]
    await asyncio.sleep(0)
    for _ in range(3):
        turn.release()
        await asyncio.sleep(0)
    assert order == [0, 1]
    assert all(each.done() for each in waiting)
    assert turn.try_take()


async def test_who_gives_up_waiting_keeps_it_from_nobody() -> None:
    turn = Turn()
    assert turn.try_take()
    early, late = (asyncio.create_task(turn.take()) for _ in range(2))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait((early,))
    turn.release()
    late.cancel()  # it has the turn already, and does not know yet
    await asyncio.wait((late,))
    assert turn.try_take()
