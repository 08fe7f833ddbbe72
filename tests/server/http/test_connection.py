"""Raw bytes to a real port, and what comes back."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quanary.server.bodies import ClientGone
from quanary.server.data_plane import CLOSE, Answer
from quanary.server.http import connection, incoming, outgoing, request
from quanary.server.http.application import Application
from quanary.server.http.port import HttpPort
from quanary.server.http.request import HttpRequest
from tests.server.running import free_port

LARGE = 3 * 2**20


class Later:
    """Answers by a function that may wait."""

    def __init__(self, answer: Callable[[HttpRequest], Awaitable[Answer]]) -> None:
        self.answer = answer
        self.answered = asyncio.Event()

    def after(self, answer: Answer) -> None:
        self.answered.set()


async def echo(asked: HttpRequest) -> Answer:
    """Tell what was asked; `/large` is answered with much, `/close` for the last time, `/broken` never."""
    body, is_more = b"", asked.path != "/unread"
    while is_more:
        part, is_more = await asked.take_part()
        body += part
    return told(asked, body)


def told(asked: HttpRequest, body: bytes) -> Answer:
    if asked.path == "/broken":
        raise RuntimeError("broken")
    said = b"x" * LARGE if asked.path == "/large" else b"%s %s " % (asked.method, asked.path.encode())
    said += body[-10:] + str(len(body)).encode()
    return Answer(200, said, (CLOSE,) if asked.path == "/close" else ())


class AtOnce:
    """Echoes without waiting what is there without waiting."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    def answer(self, asked: HttpRequest) -> Awaitable[Answer]:
        body = asked.take_whole() if asked.path != "/unread" else b""
        return echo(asked) if body is None else told(asked, body)

    def after(self, answer: Answer) -> None:
        self.answered.set()


BOTH_WAYS = pytest.mark.parametrize("app", [AtOnce, lambda: Later(echo)], ids=["at once", "later"])


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, head: str, body: bytes = b"") -> None:
        self.writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    async def hear(self, *, has_body: bool = True) -> tuple[str, bytes]:
        """A head and a body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0]) if has_body else 0
        return head, await self.reader.readexactly(length)

    async def ask(self, head: str, body: bytes = b"") -> bytes:
        self.say(head, body)
        return (await self.hear())[1]

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""


@asynccontextmanager
async def connected(app: Application | None = None) -> AsyncIterator[Client]:
    number = free_port()
    port = HttpPort(app or Later(echo), "127.0.0.1", number, 1.0)
    await port.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        await port.stop()


@BOTH_WAYS
async def test_requests_follow_each_other_on_one_connection(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        assert await client.ask("GET /a%20b?c=d HTTP/1.1\nHost: m") == b"GET /a b 0"
        assert await client.ask("POST /p HTTP/1.1\nContent-Length: 3", b"abc") == b"POST /p abc3"
        assert await client.ask(
            "POST http://m:80/p HTTP/1.1\nTransfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"
        ) == (b"POST /p abc3")


@BOTH_WAYS
async def test_requests_sent_at_once_are_answered_in_order(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        for number in range(50):
            client.say(f"POST /{number} HTTP/1.1\nContent-Length: 2", b"ab")
        assert [(await client.hear())[1] for _ in range(50)] == [b"POST /%d ab2" % number for number in range(50)]


async def test_a_large_body_comes_in_whole_though_little_is_held_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "BODY_AHEAD_BYTES", 1000)
    async with connected() as client:
        assert (
            await client.ask(f"POST /p HTTP/1.1\nContent-Length: {LARGE}", b"y" * LARGE)
            == b"POST /p yyyyyyyyyy%d" % LARGE
        )
        assert await client.ask("GET /a HTTP/1.1") == b"GET /a 0"


@BOTH_WAYS
async def test_a_slow_reader_gets_all_of_many_large_answers(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        for _ in range(3):
            client.say("GET /large HTTP/1.1")
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert len((await client.hear())[1]) == LARGE + 1


@pytest.mark.parametrize("expectation", ["Expect: 100-continue", "EXPECT: 100-Continue", "Expect: 100-continue \t"])
async def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(expectation: str) -> None:
    async with connected() as client:
        client.say(f"POST /p HTTP/1.1\nContent-Length: 3\n{expectation}")
        head, _ = await asyncio.wait_for(client.hear(has_body=False), 20)
        assert head.startswith("http/1.1 100 continue")
        client.writer.write(b"abc")
        assert (await client.hear())[1] == b"POST /p abc3"


@BOTH_WAYS
async def test_head_has_no_body(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        client.say("HEAD /a HTTP/1.1")
        assert "content-length: 9" in (await client.hear(has_body=False))[0]
        assert await client.ask("GET /a HTTP/1.1") == b"GET /a 0"


async def test_another_protocol_is_not_taken_up_and_the_client_goes_on() -> None:
    async with connected() as client:
        upgrade = "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk"
        for _ in range(2):
            assert await client.ask(f"POST /p HTTP/1.1\nContent-Length: 3\n{upgrade}", b"abc") == b"POST /p abc3"
        client.say(f"GET /a HTTP/1.1\n{upgrade}")
        client.say("GET /b HTTP/1.1")
        assert [(await client.hear())[1] for _ in range(2)] == [b"GET /a 0", b"GET /b 0"]


@pytest.mark.parametrize(
    "head",
    [
        "GET /a HTTP/1.1\nConnection: close",
        "GET /a HTTP/1.0",
        "GET /a HTTP/1.0\nConnection: keep-alive",
        "GET /close HTTP/1.1",
    ],
)
async def test_the_last_answer_says_so_and_ends_the_connection(head: str) -> None:
    async with connected() as client:
        client.say(head)
        assert (await client.hear())[0].count("connection: close") == 1
        assert await client.is_closed()


@BOTH_WAYS
async def test_a_body_that_nobody_reads_ends_the_connection(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        client.say("POST /unread HTTP/1.1\nContent-Length: 100", b"GET /smuggled HTTP/1.1\r\n\r\n")
        head, body = await client.hear()
        assert "connection: close" in head
        assert body == b"POST /unread 0"
        assert await client.is_closed()


@BOTH_WAYS
async def test_an_application_that_breaks_ends_the_connection_alone(app: Callable[[], Application]) -> None:
    async with connected(app()) as client:
        client.say("GET /broken HTTP/1.1")
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 1000, 431),
        (b"GET /" + b"y" * 1000, 431),
        (b"GET / HTTP/1.1\r\n" + b"x:y\r\n" * 101 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused_in_words(
    said: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "HEAD_LIMIT_BYTES", 1000)
    async with connected() as client:
        client.writer.write(said)
        head, body = await client.hear()
        assert head.startswith(f"http/1.1 {status}")
        assert "connection: close" in head
        assert b'{"error":' in body


async def test_nothing_follows_a_body_in_chunks_that_was_not_in_the_head() -> None:
    async def tell(asked: HttpRequest) -> Answer:
        while (await asked.take_part())[1]:
            pass
        return Answer(200, b" ".join(asked.headers))

    async with connected(Later(tell)) as client:
        client.say("POST /p HTTP/1.1\nTransfer-Encoding: chunked", b"3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        client.writer.write(b"0\r\nx-critical: true\r\n\r\n")
        assert (await client.hear())[1] == b"transfer-encoding"
        assert await client.ask("GET /a HTTP/1.1\nX: y") == b"x"


@pytest.mark.parametrize("endless", [b"3;", b"3\r\nabc\r\n0\r\nx: "])
async def test_what_stands_beside_a_body_in_chunks_is_bounded(endless: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEAD_LIMIT_BYTES", 1000)
    async with connected() as client:
        client.say("POST /p HTTP/1.1\nTransfer-Encoding: chunked", endless)
        for _ in range(3):
            await asyncio.sleep(0.02)
            client.writer.write(b"y" * 400)
        assert (await client.hear())[0].startswith("http/1.1 431")
        assert await client.is_closed()


async def test_of_very_many_requests_sent_at_once_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITING_LIMIT", 2)
    async with connected() as client:
        client.writer.write(b"GET /a HTTP/1.1\r\n\r\n" * 3)
        head, body = await client.hear()
        assert ("connection: close" in head, body) == (True, b"GET /a 0")
        assert await client.is_closed()


async def test_a_refusal_reaches_a_client_that_goes_on_sending() -> None:
    async with connected() as client:
        client.say(f"POST /unread HTTP/1.1\nContent-Length: {100 * LARGE}")
        for _ in range(20):
            client.writer.write(b"y" * LARGE)
            await client.writer.drain()
        assert (await client.hear())[1] == b"POST /unread 0"
        assert await client.is_closed()


async def test_a_client_that_only_sends_is_not_heard_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "LINGER_SECONDS", 0.2)
    async with connected() as client:
        client.say("POST /unread HTTP/1.1\nContent-Length: 1000000000")

        async def send_for_ever() -> None:
            while True:
                client.writer.write(b"y" * 1000)
                await client.writer.drain()
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(), 20)


@pytest.mark.parametrize("more", ["", "\nConnection: close"])
async def test_a_client_that_does_not_take_its_answer_is_given_up(more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TAKE_SECONDS", 0.2)

    async def large(asked: HttpRequest) -> Answer:
        return Answer(200, b"x" * 20 * LARGE)

    app = Later(large)
    async with connected(app) as client:
        client.say(f"GET /a HTTP/1.1{more}")
        await asyncio.wait_for(app.answered.wait(), 20)
        await asyncio.sleep(0.5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(client.reader.readexactly(20 * LARGE), 20)


async def test_answers_that_nobody_takes_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def large(asked: HttpRequest) -> Answer:
        return Answer(200, b"x" * 10 * LARGE)

    monkeypatch.setattr(outgoing, "UNTAKEN_LIMIT_BYTES", 15 * LARGE)
    async with connected(Later(large)) as first, connected(Later(large)) as second:
        first.say("GET /a HTTP/1.1")
        await first.reader.readuntil(b"\r\n\r\n")
        second.say("GET /a HTTP/1.1")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(second.reader.readexactly(10 * LARGE), 20)
        assert len(await asyncio.wait_for(first.reader.readexactly(10 * LARGE), 20)) == 10 * LARGE
        # Its place is free again.
        await first.ask("GET /a HTTP/1.1")
    assert outgoing.Outgoing.untaken_bytes == 0


async def test_garbage_behind_a_request_is_not_gathered_while_that_is_answered() -> None:
    leave = asyncio.Event()

    async def slow(asked: HttpRequest) -> Answer:
        await leave.wait()
        return await echo(asked)

    async with connected(Later(slow)) as client:
        client.say("GET /a HTTP/1.1")
        await asyncio.sleep(0.05)
        before = resident_bytes()
        client.writer.write(b"GET /")
        for _ in range(40):
            client.writer.write(b"y" * 2**20)
            await client.writer.drain()
        assert resident_bytes() - before < 20 * 2**20
        leave.set()
        head, body = await client.hear()
        assert ("connection: close" in head, body) == (True, b"GET /a 0")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_slow_head_is_no_fault_while_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    leave = asyncio.Event()

    async def slow(asked: HttpRequest) -> Answer:
        await leave.wait()
        return await echo(asked)

    async with connected(Later(slow)) as client:
        client.writer.write(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HT")
        await asyncio.sleep(0.3)
        client.writer.write(b"TP/1.1\r\n\r\n")
        leave.set()
        assert [(await client.hear())[1] for _ in range(3)] == [b"GET /a 0", b"GET /b 0", b"GET /c 0"]


async def test_a_head_after_much_else_is_not_taken_for_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "HEAD_LIMIT_BYTES", 1000)
    async with connected() as client:
        client.say("POST /p HTTP/1.1\nContent-Length: 2000", b"y" * 2000 + b"GET /a HT")
        assert (await client.hear())[1].endswith(b"2000")
        client.writer.write(b"TP/1.1\r\n\r\n")
        assert (await client.hear())[1] == b"GET /a 0"


async def test_a_head_that_is_never_complete_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.1)
    async with connected() as client:
        client.writer.write(b"GET / HTTP/1.1\r\n")
        assert (await client.hear())[0].startswith("http/1.1 408")
        assert await client.is_closed()


async def test_one_connection_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_LIMIT", 0)
    async with connected() as client:
        assert (await client.hear())[0].startswith("http/1.1 503")


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quanary.server.http.port.KEEP_ALIVE_SECONDS", 0.2)
    async with connected() as client:
        assert await client.ask("GET /a HTTP/1.1") == b"GET /a 0"
        await asyncio.sleep(0.1)
        assert await client.ask("GET /a HTTP/1.1") == b"GET /a 0"
        assert await asyncio.wait_for(client.is_closed(), 20)


async def test_at_the_end_what_runs_is_answered() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(asked: HttpRequest) -> Answer:
        entered.set()
        await leave.wait()
        return await echo(asked)

    number = free_port()
    port = HttpPort(Later(slow), "127.0.0.1", number, 30.0)
    await port.start()
    busy, idle = [Client(*await asyncio.open_connection("127.0.0.1", number)) for _ in range(2)]
    busy.say("GET /a HTTP/1.1")
    await entered.wait()
    ending = asyncio.create_task(port.stop())
    assert await idle.is_closed()
    leave.set()
    assert "connection: close" in (await busy.hear())[0]
    await ending
    for client in (busy, idle):
        client.writer.close()


async def test_an_application_hears_that_its_client_is_gone() -> None:
    gone = asyncio.Event()

    async def wait_for_more(asked: HttpRequest) -> Answer:
        try:
            while True:
                await asked.take_part()
        except ClientGone:
            gone.set()
            raise

    async with connected(Later(wait_for_more)) as client:
        client.say("POST /p HTTP/1.1\nContent-Length: 30", b"abc")
        await asyncio.sleep(0.05)
        client.writer.close()
        await asyncio.wait_for(gone.wait(), 20)


async def test_a_slow_reader_who_will_send_no_more_gets_all_and_then_the_end() -> None:
    async with connected() as client:
        client.say("GET /large HTTP/1.1")
        await asyncio.sleep(0.1)  # the answer waits to be taken
        client.writer.write_eof()
        assert len((await client.hear())[1]) == LARGE + 1
        assert await asyncio.wait_for(client.is_closed(), 20)


async def test_who_is_accepted_while_the_port_stops_is_told_to_go() -> None:
    number = free_port()
    port = HttpPort(Later(echo), "127.0.0.1", number, 1.0)
    await port.start()
    entered, stopping = port.enter, list[asyncio.Task[None]]()

    def enter(each: connection.Connection) -> None:
        port.enter = entered  # type: ignore[method-assign]
        stopping.append(asyncio.create_task(port.stop()))
        # The task begins before the next connection is told of, and after this one.
        asyncio.get_running_loop().call_soon(entered, each)

    port.enter = enter  # type: ignore[assignment, method-assign]
    client = Client(*await asyncio.open_connection("127.0.0.1", number))
    assert await asyncio.wait_for(client.is_closed(), 20)
    await stopping[0]
    assert not port.connections
    client.writer.close()
