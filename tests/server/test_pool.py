"""Questions over a pool of connections."""

import asyncio
import contextlib
from typing import Final

import pytest

from quanary.server.client import Broken, Unreachable
from quanary.server.pool import Pool
from tests.server.running import answering, free_port, listening

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
OK: Final = HEAD + b"\r\nok"


async def test_one_connection_serves_questions_one_after_the_other() -> None:
    async with answering(*[OK] * 3) as (url, given):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            for _ in range(3):
                assert (await pool.ask("POST", "/path", "x: 1\r\n", [b"bo", b"dy"])).body == b"ok"
        assert given == [3]


async def test_questions_at_one_time_have_a_connection_each() -> None:
    async with answering(*[OK] * 4) as (url, given):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            await asyncio.gather(*(pool.ask("POST", "/", "", [b"body"]) for _ in range(4)))
        assert given == [1, 1, 1, 1]


async def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    async with answering(*[HEAD + b"connection: close\r\n\r\nok"] * 2) as (url, given):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            for _ in range(2):
                await pool.ask("POST", "/", "", [b"body"])
        assert given == [1, 1]


async def test_a_connection_that_the_server_ended_meanwhile_costs_no_question() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(OK)

    async with listening(once) as url:
        with contextlib.closing(Pool(url, limit=1)) as pool:
            for _ in range(5):
                assert (await pool.ask("POST", "/", "", [b"body"])).body == b"ok"


async def test_a_connection_that_ends_on_its_question_is_tried_anew_once() -> None:
    """On a kept connection the server may have ended it before it saw the question; on a new one it has not."""
    async with answering(OK) as (url, given):
        with contextlib.closing(Pool(url, limit=1)) as pool:
            await pool.ask("POST", "/", "", [b"body"])
            with pytest.raises(Broken, match="ended before the answer"):
                await pool.ask("POST", "/", "", [b"body"])
        assert given == [1, 0]


async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(Unreachable):
        await Pool(f"http://127.0.0.1:{free_port()}", limit=1).ask("GET", "/")


async def test_a_late_answer_is_never_taken_for_the_next() -> None:
    async with answering(b"", OK) as (url, given):
        with contextlib.closing(Pool(url, limit=1)) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await pool.ask("POST", "/slow", "", [b"body"])
            assert (await pool.ask("POST", "/quick", "", [b"body"])).body == b"ok"
        assert given == [1, 1]
