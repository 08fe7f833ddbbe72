"""Requests over a pool of connections, to servers that keep to HTTP and to those that do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quanary.server.pool import ANSWER_LIMIT_BYTES, Broken, Pool, Unreachable
from tests.server.running import free_port, listening

HEAD = b"HTTP/1.1 200 OK\r\nQuanary-Digest: d\r\nContent-Length: 2\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives these answers in turn, then hangs up; and how many requests each connection brought."""
    waiting, asked = iter(answers), list[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        mine = len(asked) - 1
        while (await reader.readuntil(b"body")) and (given := next(waiting, None)) is not None:
            asked[mine] += 1
            writer.write(given)

    async with listening(answer) as url:
        yield url, asked


@pytest.mark.parametrize("answer", [HEAD + b"\r\nok", CHUNKED], ids=["length", "chunked"])
async def test_one_connection_serves_requests_one_after_the_other(answer: bytes) -> None:
    async with answering(*[answer] * 3) as (url, asked):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            for _ in range(3):
                response = await pool.ask("POST", "/path", "x: 1\r\n", [b"bo", memoryview(b"dy")])
                assert (response.status, response.body) == (200, b"ok")
        assert asked == [3]


async def test_a_server_sees_one_whole_request() -> None:
    seen: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"body"))
        writer.write(HEAD + b"\r\nok")

    async with listening(keep) as url:
        with contextlib.closing(Pool(url, limit=1)) as pool:
            await pool.ask("POST", "/a", "x: 1\r\n", [b"bo", b"dy"])
    host = url.removeprefix("http://").encode()
    assert seen == [b"POST /a HTTP/1.1\r\nhost: " + host + b"\r\nx: 1\r\ncontent-length: 4\r\n\r\nbody"]


async def test_requests_at_one_time_have_a_connection_each() -> None:
    async with answering(*[HEAD + b"\r\nok"] * 4) as (url, asked):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            await asyncio.gather(*(pool.ask("POST", "/", "", [b"body"]) for _ in range(4)))
        assert asked == [1, 1, 1, 1]


async def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    async with answering(*[HEAD + b"connection: close\r\n\r\nok"] * 2) as (url, asked):
        with contextlib.closing(Pool(url, limit=4)) as pool:
            for _ in range(2):
                await pool.ask("POST", "/", "", [b"body"])
        assert asked == [1, 1]


async def test_a_connection_that_the_server_ended_meanwhile_costs_no_request() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(HEAD + b"\r\nok")

    async with listening(once) as url:
        with contextlib.closing(Pool(url, limit=1)) as pool:
            for _ in range(5):
                assert (await pool.ask("POST", "/", "", [b"body"])).body == b"ok"


async def test_a_connection_that_ends_on_its_request_is_tried_anew_once() -> None:
    """On a kept connection the server may have ended it before it saw the request; on a new one it has not."""
    async with answering(HEAD + b"\r\nok") as (url, asked):
        with contextlib.closing(Pool(url, limit=1)) as pool:
            await pool.ask("POST", "/", "", [b"body"])
            with pytest.raises(Broken, match="ended before the answer"):
                await pool.ask("POST", "/", "", [b"body"])
        assert asked == [1, 0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 nonsense\r\ncontent-length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000,
    ],
    ids=["short", "negative", "no number", "no status", "no HTTP", "endless header"],
)
async def test_what_is_no_answer_is_broken_and_its_connection_ends(answer: bytes) -> None:
    async with answering(answer) as (url, asked):
        # Two requests' worth: the server hangs up after its one answer.
        with contextlib.closing(Pool(url, limit=1)) as pool, pytest.raises(Broken):
            await pool.ask("POST", "/", "", [b"bodybody"])
        assert asked == [1]


async def test_an_answer_beyond_the_limit_is_not_kept_in_memory() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(ANSWER_LIMIT_BYTES // 2**20 + 2):
            writer.write(b"100000\r\n" + bytes(2**20) + b"\r\n")
            await writer.drain()

    async with listening(pour) as url:
        with contextlib.closing(Pool(url, limit=1)) as pool, pytest.raises(Broken, match="allowed: at most"):
            await pool.ask("POST", "/", "", [b"body"])


async def test_nobody_there_is_said_at_once() -> None:
    with pytest.raises(Unreachable):
        await Pool(f"http://127.0.0.1:{free_port()}", limit=1).ask("GET", "/")


async def test_who_gives_up_ends_his_connection_so_that_no_answer_is_taken_for_another() -> None:
    release = asyncio.Event()
    ended: list[bytes] = []

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"body")
        if b"/slow" in asked:
            ended.append(await reader.read())  # until the other side ends it
            release.set()
        writer.write(HEAD + b"\r\nok")

    async with listening(late) as url:
        with contextlib.closing(Pool(url, limit=1)) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await pool.ask("POST", "/slow", "", [b"body"])
            async with asyncio.timeout(10):
                await release.wait()
            assert (await pool.ask("POST", "/quick", "", [b"body"])).body == b"ok"
    assert ended == [b""]


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    """Else they would be the answer to the next request."""
    async with answering(HEAD + b"\r\nok" + HEAD + b"\r\nno", HEAD + b"\r\nok") as (url, asked):
        with contextlib.closing(Pool(url, limit=1)) as pool:
            for _ in range(2):
                assert (await pool.ask("POST", "/", "", [b"body"])).body == b"ok"
        assert len(asked) == 2
