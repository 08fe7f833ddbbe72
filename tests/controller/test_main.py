"""The process around the loop; tests/api runs it whole."""

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from quanary.controller.__main__ import keep_ticking, main, run_parts, set_up_logging
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics
from quanary.controller.queue import Queue
from tests.controller.waiting import until

A = ModelKey("ns", "a")


@pytest.fixture
def logs() -> Iterator[None]:
    before = logging.getLogger().handlers[:]
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before


def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logs: None
) -> None:
    monkeypatch.setenv("QUANARY_TICK", "soon")
    assert main([]) == 2
    assert "QUANARY_TICK: 'soon' is not allowed" in capsys.readouterr().err


def test_every_line_is_json_whoever_logs(capsys: pytest.CaptureFixture[str], logs: None) -> None:
    set_up_logging("info")
    with structlog.contextvars.bound_contextvars(namespace="vision", name="digits", uid="u", generation=3):
        structlog.get_logger().info("decided", stage="Canary")
        logging.getLogger("kopf.reactor").warning("watch of %s ended", "pods")
        structlog.get_logger().debug("unheard")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ours["message"] == "decided"
    assert theirs["message"] == "watch of pods ended"
    for line in (ours, theirs):
        assert (line["namespace"], line["name"], line["uid"], line["generation"]) == ("vision", "digits", "u", 3)
        assert {"level", "timestamp"} <= set(line)


async def test_ticks_wake_whom_they_name_at_once() -> None:
    runs: list[ModelKey] = []

    async def work(key: ModelKey) -> None:
        runs.append(key)

    async def tick() -> list[ModelKey]:
        return [A]

    queue = Queue(work, Metrics())
    tasks = [
        asyncio.create_task(queue.run(1)),
        asyncio.create_task(keep_ticking(tick, queue, timedelta(milliseconds=1))),
    ]
    await until(lambda: len(runs) >= 3)
    await queue.close()
    tasks[1].cancel()
    await asyncio.wait(tasks)


async def _forever() -> None:
    await asyncio.Event().wait()


async def _watch_until_told(stop: asyncio.Event, ready: asyncio.Event) -> None:
    ready.set()
    await stop.wait()


async def _work(key: ModelKey) -> None: ...


async def test_a_part_that_fails_ends_the_process() -> None:
    async def fails() -> None:
        raise OSError("the listing broke")

    queue = Queue(_work, Metrics())
    with pytest.raises(RuntimeError, match="resync failed: the listing broke"):
        await run_parts(queue, {"workers": queue.run(1), "resync": fails()}, _watch_until_told)


async def test_a_part_that_ends_ends_the_process() -> None:
    async def ends() -> None: ...

    queue = Queue(_work, Metrics())
    with pytest.raises(RuntimeError, match=r"\['telemetry'\] ended"):
        await run_parts(queue, {"workers": queue.run(1), "telemetry": ends()}, _watch_until_told)


async def test_a_watch_that_cannot_be_healed_ends_the_process() -> None:
    async def breaks(stop: asyncio.Event, ready: asyncio.Event) -> None:
        raise ConnectionError("in-stream error 500")

    queue = Queue(_work, Metrics())
    with pytest.raises(RuntimeError, match="watch failed: in-stream error 500"):
        await run_parts(queue, {"workers": queue.run(1), "resync": _forever()}, breaks)
