"""Questions over one connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quanary.server.ask import Broken, NoTwin, TwinConnection
from tests.server.running import free_port, listening

HEAD = b"HTTP/1.1 200 OK\r\nQuanary-Digest: d\r\nContent-Length: 2\r\n"


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives these answers in turn and then hangs up; and how many questions each connection brought."""
    waiting, asked = iter(answers), list[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(0)
        mine = len(asked) - 1
        while (await reader.readuntil(b"body")) and (given := next(waiting, None)) is not None:
            asked[mine] += 1
            writer.write(given)

    async with listening(answer) as url:
        yield url, asked


async def test_one_connection_serves_many_questions() -> None:
    async with answering(*[HEAD + b"\r\nok"] * 3) as (url, asked):
        with contextlib.closing(TwinConnection(url)) as twin:
            for _ in range(3):
                answer = await twin.post("/path", b"body", {"x": "1"})
                assert (answer.status, answer.headers["quanary-digest"], answer.body) == (200, "d", b"ok")
        assert asked == [3]


async def test_a_connection_that_is_to_close_is_not_used_again() -> None:
    async with answering(*[HEAD + b"connection: close\r\n\r\nok"] * 2) as (url, asked):
        with contextlib.closing(TwinConnection(url)) as twin:
            for _ in range(2):
                await twin.post("/path", b"body", {})
        assert asked == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 nonsense\r\ncontent-length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"a: " + b"b" * 100_000,
    ],
)
async def test_what_is_no_complete_answer_is_broken(answer: bytes) -> None:
    async with answering(answer) as (url, _):
        with contextlib.closing(TwinConnection(url)) as twin, pytest.raises((Broken, TimeoutError)):
            async with asyncio.timeout(0.5):
                await twin.post("/path", b"body", {})


async def test_a_late_answer_is_never_taken_for_the_next() -> None:
    async with answering(b"", HEAD + b"\r\nok") as (url, asked):
        with contextlib.closing(TwinConnection(url)) as twin:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(twin.post("/path", b"body", {}), 0.2)
            assert (await twin.post("/path", b"body", {})).body == b"ok"
        assert asked == [1, 1]


async def test_a_refused_connection_is_no_twin() -> None:
    with pytest.raises(NoTwin):
        await TwinConnection(f"http://127.0.0.1:{free_port()}").post("/path", b"body", {})


async def test_an_unknown_host_is_no_twin() -> None:
    with pytest.raises(NoTwin):
        await TwinConnection("http://no-such-host.invalid:80").post("/path", b"body", {})


async def test_patience_has_an_end_and_the_connection_with_it() -> None:
    async with answering(b"", HEAD + b"\r\nok") as (url, asked):
        with contextlib.closing(TwinConnection(url)) as twin:
            with pytest.raises(TimeoutError):
                await twin.post("/path", b"body", {}, seconds=0.2)
            assert (await twin.post("/path", b"body", {}, seconds=20)).body == b"ok"
        assert asked == [1, 1]


async def test_a_connection_is_not_used_beyond_its_lifetime() -> None:
    async with answering(*[HEAD + b"\r\nok"] * 3) as (url, asked):
        with contextlib.closing(TwinConnection(url, lifetime_seconds=0.3)) as twin:
            await twin.post("/path", b"body", {})
            await twin.post("/path", b"body", {})
            opened_at = twin.opened_at
            await asyncio.sleep(0.35)
            await twin.post("/path", b"body", {})
        assert asked == [2, 1]
        assert twin.opened_at > opened_at


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    async with answering(HEAD + b"\r\nok" + HEAD + b"\r\nno", HEAD + b"\r\nok") as (url, asked):
        with contextlib.closing(TwinConnection(url)) as twin:
            for _ in range(2):
                assert (await twin.post("/path", b"body", {})).body == b"ok"
        assert asked == [1, 1]


async def test_an_answer_may_come_in_pieces() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        for byte in HEAD + b"\r\nok":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with listening(answer) as url:
        with contextlib.closing(TwinConnection(url)) as twin:
            assert (await twin.post("/path", b"body", {})).body == b"ok"
