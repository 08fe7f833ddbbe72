"""A real server on loopback ports inside the test's event loop."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from quanary.server.__main__ import serve
from quanary.server.engine import Engine
from quanary.server.http.application import Application
from quanary.server.http.port import HttpPort
from quanary.server.session import read_model
from quanary.server.settings import Settings
from quanary.wire.launch import ServeArguments


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def asking(app: Application) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application behind a port of its own."""
    number = free_port()
    port = HttpPort(app, "127.0.0.1", number, 1.0)
    await port.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{number}", trust_env=False) as client:
            yield client
    finally:
        await port.stop()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[str]:
    """The URL of a server that is no server of ours; every connection is closed at the end."""
    ended: list[asyncio.Event] = []

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(done := asyncio.Event())
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await handle(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        done.set()

    listener = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for each in ended:
            await each.wait()


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives these answers in turn to each "body", then hangs up; and how many each connection got."""
    waiting, given = iter(answers), list[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given.append(0)
        mine = len(given) - 1
        while (await reader.readuntil(b"body")) and (answer := next(waiting, None)) is not None:
            given[mine] += 1
            writer.write(answer)

    async with listening(answer) as url:
        yield url, given


async def until(claim: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await claim():
        assert time.monotonic() < deadline, "it never became true"
        await asyncio.sleep(0.01)


@dataclass
class Running:
    client: httpx.AsyncClient
    arguments: ServeArguments
    stop: asyncio.Event
    task: "asyncio.Task[int]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.arguments.http_port}"

    @property
    def twin_url(self) -> str:
        return f"http://127.0.0.1:{self.arguments.twin_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.arguments.metrics_port}"

    async def infer(self, features: list[float], url: str = "", **more: Any) -> httpx.Response:
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": features}
        return await self.client.post(f"{url or self.url}/v2/models/m/infer", json={"inputs": [tensor]}, **more)

    async def counts(self, page: str = "gates") -> dict[str, float]:
        """Series without their prefix and `_total`, twins' sums; `name{twin}` besides."""
        text = (await self.client.get(f"{self.metrics_url}/{page}")).text
        counts: dict[str, float] = {}
        for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
            name = sample.name.removeprefix("quanary_").removesuffix("_total")
            counts[name] = counts.get(name, 0) + sample.value
            if "twin" in sample.labels:
                counts[f"{name}{{{sample.labels['twin']}}}"] = sample.value
        return counts

    async def counted(self, name: str, least: float = 1) -> dict[str, float]:
        """The counts once `name` has reached `least`."""

        async def is_reached() -> bool:
            return (await self.counts()).get(name, 0) >= least

        await until(is_reached)
        return await self.counts()


def same(engine: Engine) -> Engine:
    return engine


@asynccontextmanager
async def running(
    path: Path, wrap: Callable[[Engine], Engine] = same, notice: float = 0.0, **given: Any
) -> AsyncIterator[Running]:
    ports = {name: given.pop(name, free_port()) for name in ("http_port", "twin_port", "metrics_port")}
    arguments = ServeArguments(model=str(path), name="m", **ports, **given)
    settings = replace(Settings.of(arguments), notice_seconds=notice)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, read_model(path, arguments.digest), stop, wrap))
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        server = Running(client, arguments, stop, task)
        try:
            await until(lambda: _is_ready(server))
            yield server
        finally:
            stop.set()
            await client.aclose()
            assert await task == 0


async def _is_ready(server: Running) -> bool:
    assert not server.task.done(), server.task
    try:
        return (await server.client.get(f"{server.url}/v2/health/ready")).status_code == 200
    except httpx.ConnectError:
        return False
