"""Questions to the twin over one connection."""

import asyncio
import contextlib
from typing import Final

import pytest

from quanary.server.ask import TwinConnection
from quanary.server.client import Unreachable
from tests.server.running import answering, free_port

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
OK: Final = HEAD + b"\r\nok"


async def test_one_connection_serves_many_questions() -> None:
    async with answering(*[OK] * 3) as (url, given):
        with contextlib.closing(TwinConnection(url)) as twin:
            for _ in range(3):
                assert (await twin.ask("POST", "/path", "x: 1\r\n", (b"body",), seconds=20)).body == b"ok"
        assert given == [3]


@pytest.mark.parametrize("answer", [HEAD + b"connection: close\r\n\r\nok", OK + OK], ids=["to close", "two"])
async def test_a_connection_that_may_not_go_on_is_not_used_again(answer: bytes) -> None:
    async with answering(*[answer] * 2) as (url, given):
        with contextlib.closing(TwinConnection(url)) as twin:
            for _ in range(2):
                assert (await twin.ask("POST", "/path", "", (b"body",))).body == b"ok"
        assert given == [1, 1]


async def test_a_late_answer_is_never_taken_for_the_next() -> None:
    async with answering(b"", OK) as (url, given):
        with contextlib.closing(TwinConnection(url)) as twin:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(twin.ask("POST", "/path", "", (b"body",)), 0.2)
            assert (await twin.ask("POST", "/path", "", (b"body",))).body == b"ok"
        assert given == [1, 1]


async def test_patience_has_an_end_and_the_connection_with_it() -> None:
    async with answering(b"", OK) as (url, given):
        with contextlib.closing(TwinConnection(url)) as twin:
            with pytest.raises(TimeoutError, match="no answer in time"):
                await twin.ask("POST", "/path", "", (b"body",), seconds=0.2)
            assert (await twin.ask("POST", "/path", "", (b"body",), seconds=20)).body == b"ok"
        assert given == [1, 1]


async def test_a_connection_is_not_used_beyond_its_lifetime() -> None:
    async with answering(*[OK] * 3) as (url, given):
        with contextlib.closing(TwinConnection(url, lifetime_seconds=0.3)) as twin:
            await twin.ask("POST", "/path", "", (b"body",))
            await twin.ask("POST", "/path", "", (b"body",))
            opened_at = twin.opened_at
            await asyncio.sleep(0.35)
            await twin.ask("POST", "/path", "", (b"body",))
        assert given == [2, 1]
        assert twin.opened_at > opened_at


async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(Unreachable):
        await TwinConnection(f"http://127.0.0.1:{free_port()}").ask("POST", "/path", "", (b"body",))
