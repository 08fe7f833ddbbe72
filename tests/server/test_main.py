"""The program as a process: start, drain, refuse."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from quanary.server.machine import cpu_features
from quanary.wire.report import Refusal
from tests.server import models
from tests.server.running import free_port, until

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}


@contextmanager
def program(path: Path, log: Path, **flags: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    words = [str(path), "--name", "m", "--http-port", str(port), "--metrics-port", str(free_port())]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "PYTHONPATH": "operator"}
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "quanary", "serve", *words], stdout=lines, stderr=lines, env=environment
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def logged(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


async def ready(client: httpx.AsyncClient, url: str) -> int:
    try:
        return (await client.get(f"{url}/v2/health/ready")).status_code
    except httpx.ConnectError:
        return 0


async def test_sigterm_is_announced_then_drained_and_ends_with_0(tmp_path: Path) -> None:
    path, log = models.write(tmp_path, models.classifier()), tmp_path / "log"
    with program(path, log) as (process, url):
        async with httpx.AsyncClient(trust_env=False) as client:

            async def is_ready() -> bool:
                assert process.poll() is None, log.read_text()
                return await ready(client, url) == 200

            async def is_draining() -> bool:
                return await ready(client, url) == 503

            await until(is_ready, 60)
            assert (await client.post(f"{url}/v2/models/m/infer", json=BODY)).status_code == 200
            process.send_signal(signal.SIGTERM)
            await until(is_draining)
            # Not ready, but whoever has not noticed yet is still served.
            answer = await client.post(f"{url}/v2/models/m/infer", json=BODY)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert await asyncio.to_thread(process.wait, 60) == 0
    assert [line["event"] for line in logged(log)] == ["loaded", "ready", "draining", "ended"]


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (models.classifier(), {"digest": "0" * 64}, f"allowed: {'0' * 64}"),
        (models.external(), {"sample_ratio": 1}, "external data"),
    ],
)
def test_what_cannot_be_served_ends_the_program_with_the_reason(
    tmp_path: Path, content: bytes, flags: dict[str, Any], words: str
) -> None:
    log = tmp_path / "log"
    with program(models.write(tmp_path, content), log, **flags) as (process, _):
        assert process.wait(60) == 2
    assert words in logged(log)[-1]["reason"]


def other_kind() -> str:
    """A CPU like this one but for VNNI."""
    return ",".join(sorted({"avx512_vnni"}.symmetric_difference(cpu_features())))


def test_another_kind_of_cpu_than_certified_ends_the_program_before_the_model_is_read(tmp_path: Path) -> None:
    log, last_words, wanted = tmp_path / "log", tmp_path / "termination-log", other_kind()
    with program(tmp_path / "none.onnx", log, cpu_features=wanted, termination_log=last_words) as (process, _):
        assert process.wait(60) == 2
    refusal = Refusal.model_validate(json.loads(last_words.read_text())["refusal"])
    assert refusal.field == "spec.runtime.nodeSelector"
    assert ", ".join(cpu_features()) in refusal.found
    assert ", ".join(wanted.split(",")) in refusal.allowed
    assert logged(log)[-1]["reason"] == refusal.sentence


def test_the_certified_kind_of_cpu_is_no_obstacle(tmp_path: Path) -> None:
    log = tmp_path / "log"
    kind = ",".join(reversed(cpu_features()))
    with program(tmp_path / "none.onnx", log, cpu_features=kind, certified_on=other_kind()) as (process, _):
        assert process.wait(60) == 2
    assert "none.onnx: No such file" in logged(log)[-1]["reason"]
