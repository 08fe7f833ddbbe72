"""The operator as a process against a real API server: it starts, works, and stops in order."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.dynamic import DynamicClient

from quanary.api import names
from tests.api.test_apply import gateway_api
from tests.controller.models import SPEC
from tests.controller.waiting import until

__all__ = ["gateway_api"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Operator:
    """A running operator."""

    def __init__(self, process: asyncio.subprocess.Process, health: int, metrics: int, log: Path) -> None:
        self.process = process
        self.health = health
        self.metrics = metrics
        self.log = log

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
async def operator(gateway_api: None, kubeconfig: Path, tmp_path: Path) -> AsyncIterator[Operator]:
    health, metrics, log = _free_port(), _free_port(), tmp_path / "log"
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "QUANARY_HEALTH_PORT": str(health),
        "QUANARY_METRICS_PORT": str(metrics),
        "QUANARY_PROMETHEUS_URL": f"http://127.0.0.1:{_free_port()}",
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quanary", "controller", env=environment, stdout=out, stderr=out
        )
    try:
        yield Operator(process, health, metrics, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_float_first_and_stops_in_order(operator: Operator, models: Any, client: DynamicClient) -> None:
    await until(lambda: operator.process.returncode is not None or _get(operator.health, "/readyz")[0] == 200)
    assert operator.process.returncode is None, operator.log.read_text()
    namespaces = client.resources.get(api_version="v1", kind="Namespace")
    namespace = namespaces.create(body={"metadata": {"generateName": "operator-"}}).metadata.name
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "digits", "namespace": namespace},
        "spec": SPEC,
    }
    models.create(body=body, namespace=namespace)
    deployments = client.resources.get(api_version="apps/v1", kind="Deployment")

    def deployed() -> list[str]:
        return [each.metadata.name for each in deployments.get(namespace=namespace).items]

    await until(deployed)
    assert deployed() == ["digits-float-ffffffffff"]
    status = models.get(name="digits", namespace=namespace).to_dict()["status"]
    assert status["observedGeneration"] == 1
    assert {each["type"] for each in status["conditions"]} >= {"Ready", "Reconciling"}
    assert "quanary_seconds_since_list " in _get(operator.metrics, "/metrics")[1]
    assert _get(operator.health, "/healthz") == (200, "ok")

    operator.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await operator.process.wait() == 0, operator.log.read_text()
    about = [line for line in operator.lines() if line.get("name") == "digits" and line.get("namespace") == namespace]
    assert about
    assert all(line["generation"] == 1 and line["uid"] for line in about)
