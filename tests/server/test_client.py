"""Questions over one connection, to servers that keep to HTTP and to those that do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from quanary.server.client import (
    ANSWER_LIMIT_BYTES,
    HEAD_LIMIT_BYTES,
    Broken,
    ClientConnection,
    Stale,
    Unreachable,
    connect,
)
from tests.server.running import answering, free_port, listening

HEAD: Final = b"HTTP/1.1 200 OK\r\nQuanary-Digest: d\r\nContent-Length: 2\r\n"
OK: Final = HEAD + b"\r\nok"
CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nQuanary-Digest: d\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[ClientConnection]:
    with contextlib.closing(await connect(url)) as connection:
        yield connection


@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["length", "chunked"])
async def test_one_connection_serves_questions_one_after_the_other(answer: bytes) -> None:
    async with answering(*[answer] * 3) as (url, given), connected(url) as connection:
        for _ in range(3):
            response = await connection.ask("POST", "/path", "x: 1\r\n", [b"bo", b"dy"])
            assert (response.status, response.headers["quanary-digest"], response.body) == (200, "d", b"ok")
            assert connection.is_open
        assert given == [3]


async def test_a_server_sees_one_whole_request() -> None:
    seen: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"body"))
        writer.write(OK)

    async with listening(keep) as url, connected(url) as connection:
        await connection.ask("POST", "/a", "x: 1\r\n", [b"bo", b"dy"])
    host = url.removeprefix("http://").encode()
    assert seen == [b"POST /a HTTP/1.1\r\nhost: " + host + b"\r\nx: 1\r\ncontent-length: 4\r\n\r\nbody"]


async def test_an_answer_may_come_in_pieces() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        for byte in OK:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with listening(answer) as url, connected(url) as connection:
        assert (await connection.ask("POST", "/", "", [b"body"])).body == b"ok"


async def test_a_connection_that_is_to_close_is_closed() -> None:
    async with answering(HEAD + b"connection: close\r\n\r\nok") as (url, _), connected(url) as connection:
        assert (await connection.ask("POST", "/", "", [b"body"])).body == b"ok"
        assert not connection.is_open


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (ANSWER_LIMIT_BYTES + 1),
        b"HTTP/1.1 nonsense\r\ncontent-length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
    ],
    ids=["no length", "negative", "no number", "too long", "no status", "no HTTP"],
)
async def test_what_is_no_answer_is_refused_at_once_and_its_connection_ends(answer: bytes) -> None:
    async def stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(answer)
        with contextlib.suppress(ConnectionResetError):
            await reader.read()  # until the other side ends it

    async with listening(stay) as url, connected(url) as connection:
        async with asyncio.timeout(20):
            with pytest.raises(Broken, match="an answer that is none"):
                await connection.ask("POST", "/", "", [b"body"])
        assert not connection.is_open


async def test_another_protocol_is_not_gone_over_to() -> None:
    answer = b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 0\r\n\r\n"
    async with answering(answer) as (url, _), connected(url) as connection:
        assert (await connection.ask("POST", "/", "", [b"body"])).status == 101
        assert not connection.is_open


@pytest.mark.parametrize("is_one", [True, False], ids=["one", "many"])
async def test_headers_beyond_the_limit_are_not_kept_in_memory(is_one: bool) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"body")
        writer.write(b"HTTP/1.1 200 OK\r\na: ")
        while sent < 100 * HEAD_LIMIT_BYTES:
            writer.write(b"b" * 1024 + (b"" if is_one else b"\r\na%d: " % sent))
            await writer.drain()
            sent += 1024

    async with listening(pour) as url, connected(url) as connection:
        with pytest.raises(Broken, match="headers: found more than"):
            await connection.ask("POST", "/", "", [b"body"])
        assert not connection.is_open
    assert sent < 100 * HEAD_LIMIT_BYTES


async def test_an_answer_beyond_the_limit_is_not_kept_in_memory() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(ANSWER_LIMIT_BYTES // 2**20 + 2):
            writer.write(b"100000\r\n" + bytes(2**20) + b"\r\n")
            await writer.drain()

    async with listening(pour) as url, connected(url) as connection:
        with pytest.raises(Broken, match="body: found more than"):
            await connection.ask("POST", "/", "", [b"body"])


async def test_an_answer_cut_short_is_broken() -> None:
    async with (
        answering(OK, b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok") as (url, _),
        connected(url) as connection,
    ):
        await connection.ask("POST", "/", "", [b"body"])
        with pytest.raises(Broken, match="ended before the answer") as caught:
            await connection.ask("POST", "/", "", [b"bodybody"])  # at the second it hangs up
        assert not isinstance(caught.value, Stale)
        assert not connection.is_open


async def test_a_new_connection_that_ends_is_broken_and_a_used_one_stale() -> None:
    """A used one the server may have ended before it saw the question."""
    async with answering(OK) as (url, given), connected(url) as connection:
        await connection.ask("POST", "/", "", [b"body"])
        with pytest.raises(Stale):
            await connection.ask("POST", "/", "", [b"body"])
        with pytest.raises(Broken) as caught:
            await (await connect(url)).ask("POST", "/", "", [b"body"])
        assert not isinstance(caught.value, Stale)
        assert given == [1, 0]


@pytest.mark.parametrize("more", [OK, b"XX", b"HTTP/1.1 200 OK\r\n"], ids=["an answer", "garbage", "a part of one"])
async def test_bytes_that_nobody_asked_for_end_the_connection(more: bytes) -> None:
    """Else they would be the answer to the next question."""
    async with answering(OK + more) as (url, _), connected(url) as connection:
        assert (await connection.ask("POST", "/", "", [b"body"])).body == b"ok"
        assert not connection.is_open


async def test_who_gives_up_ends_the_connection_so_that_no_answer_is_taken_for_another() -> None:
    ended = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()  # until the other side ends it
        ended.set()

    async with listening(never) as url, connected(url) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.ask("POST", "/", "", [b"body"])
        assert not connection.is_open
        async with asyncio.timeout(20):
            await ended.wait()


async def test_who_is_closed_gets_no_answer() -> None:
    async with answering(b"") as (url, _), connected(url) as connection:
        asking = asyncio.create_task(connection.ask("POST", "/", "", [b"body"]))
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(Broken, match="closed"):
            await asking


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_nobody_there_is_said_at_once(host: str) -> None:
    with pytest.raises(Unreachable, match=host):
        await connect(f"http://{host}:{free_port()}")
