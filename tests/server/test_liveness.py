"""What the kubelet is told of a server that it cannot reach."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quanary.server.data_plane import Answer
from quanary.server.http.request import HttpRequest
from quanary.server.liveness import WatchingLiveness
from quanary.wire.launch import UPSTREAM_LIVE_PATH
from tests.server import models
from tests.server.running import asking, free_port, listening, running


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")


async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert b"GET /v2/health/live " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize(("handle", "status"), [(hang, 503), (refuse, 503), (live, 200)])
async def test_live_is_one_that_answers(
    monkeypatch: pytest.MonkeyPatch, handle: Callable[..., Awaitable[None]], status: int
) -> None:
    monkeypatch.setattr("quanary.server.liveness.ANSWER_SECONDS", 0.2)
    async with listening(handle) as url:
        assert await asked(url) == status


async def test_one_that_is_not_there_yet_or_any_more_is_left_to_the_kubelet() -> None:
    assert await asked(f"http://127.0.0.1:{free_port()}") == 200


class Nothing:
    """It is never asked."""

    def answer(self, request: HttpRequest) -> Answer:
        raise AssertionError(request.path)

    def after(self, answer: Answer) -> None:
        pass


async def asked(url: str) -> int:
    async with asking(WatchingLiveness(Nothing(), url)) as client:
        return (await client.get(UPSTREAM_LIVE_PATH)).status_code


async def test_the_page_stands_beside_the_metrics_of_a_front_alone(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, twin_port=0) as back, running(path, upstream=back.url) as front:
        for server, status in ((front, 200), (back, 404)):
            assert (await front.client.get(f"{server.metrics_url}{UPSTREAM_LIVE_PATH}")).status_code == status
        assert (await front.client.get(f"{front.metrics_url}/gates")).status_code == 200
