"""Results that are there, that come, and that nobody wants any more."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from quanary.server.soon import Soon, There, follow


class Number(There, msgspec.Struct, frozen=True):
    value: int


class Gone(Exception):  # noqa: N818
    """One that a weak reference can be held to."""


def doubled(number: Number) -> Number:
    if number.value < 0:
        raise ValueError(number.value)
    return Number(number.value * 2)


def failed(error: Exception) -> Number:
    return Number(-1)


async def later(result: Number | Exception) -> Number:
    await asyncio.sleep(0)
    if isinstance(result, Exception):
        raise result
    return result


def soon(result: Number | Exception) -> Soon[Number]:
    coming = Soon[Number]()
    asyncio.get_running_loop().call_soon(coming.settle, result)
    return coming


def settled(result: Number | Exception) -> Soon[Number]:
    coming = Soon[Number]()
    coming.settle(result)
    return coming


Come = Callable[[Number | Exception], Awaitable[Number]]
EACH_WAY = pytest.mark.parametrize("come", [later, soon, settled])


def test_of_what_is_there_the_rest_is_there() -> None:
    assert follow(Number(1), doubled) == Number(2)


async def test_what_is_there_may_be_awaited() -> None:
    assert await Number(1) == Number(1)


@EACH_WAY
async def test_what_follows_gets_the_result(come: Come) -> None:
    assert await follow(follow(come(Number(1)), doubled), doubled) == Number(4)


@EACH_WAY
async def test_a_failure_reaches_whoever_takes_it(come: Come) -> None:
    assert await follow(follow(come(OSError("gone")), doubled), doubled, failed) == Number(-1)
    with pytest.raises(OSError, match="gone"):
        await follow(come(OSError("gone")), doubled)


@EACH_WAY
async def test_what_a_follower_raises_is_a_failure(come: Come) -> None:
    assert await follow(follow(come(Number(-1)), doubled), doubled, failed) == Number(-1)


async def test_who_is_cancelled_while_waiting_wants_it_no_more() -> None:
    coming = Soon[Number]()
    waiting = asyncio.ensure_future(follow(coming, doubled))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
    assert coming.is_over
    coming.settle(Number(1))


def test_it_comes_once() -> None:
    coming, told = Soon[Number](), list[object]()
    coming.then(told.append)
    for value in (1, 2):
        coming.settle(Number(value))
    assert told == [Number(1)]


def test_what_is_late_is_told_in_its_place_to_the_steps_that_came_after() -> None:
    coming, told = Soon[Number](), list[object]()
    following = coming.then(doubled)
    following.expire_at(0, lambda: Number(7))
    following.then(doubled).then(told.append)
    following.expire()
    coming.settle(Number(1))
    assert told == [Number(14)]


async def test_a_failure_that_was_awaited_is_kept_by_nobody() -> None:
    gc.collect()
    gc.disable()
    try:
        error = Gone()
        held = weakref.ref(error)
        with contextlib.suppress(Gone):
            await soon(error)
        del error
        assert held() is None
    finally:
        gc.enable()
