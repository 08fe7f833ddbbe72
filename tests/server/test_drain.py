"""SIGTERM under load: whoever follows readiness loses no request, over HTTP or gRPC."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx

from quanary.server.rpc import inference_pb2 as pb
from tests.server import models
from tests.server.rpc.calling import SERVICE, request
from tests.server.running import free_port, until

CLIENTS = 8
BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
CALL = request([1, 2, 3, 4]).SerializeToString()
NOTICED_AFTER_SECONDS = 0.05


@dataclass
class Pod:
    """A server process, as an endpoint of a Service."""

    process: subprocess.Popen[bytes]
    http: str
    rpc: str
    is_ready: bool = False


@dataclass
class Load:
    """What clients saw, who turn to any pod that was ready when they last looked."""

    pods: list[Pod]
    answers: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def watch(self, pod: Pod, client: httpx.AsyncClient) -> None:
        """Readiness as a kubelet and an endpoint controller pass it on: seldom and late."""
        while not self.is_over:
            try:
                pod.is_ready = (await client.get(f"{pod.http}/v2/health/ready")).status_code == 200
            except httpx.TransportError:
                pod.is_ready = False
            await asyncio.sleep(NOTICED_AFTER_SECONDS)

    async def ask(self, number: int, ask: Callable[[Pod], Awaitable[str]]) -> None:
        while not self.is_over:
            ready = [pod for pod in self.pods if pod.is_ready]
            pod = ready[number % len(ready)]
            self.answers[await ask(pod)] += 1
            number += 1


@contextmanager
def pod(path: Path) -> Iterator[Pod]:
    http, rpc, metrics = free_port(), free_port(), free_port()
    words = [str(path), "--name=m", f"--http-port={http}", f"--grpc-port={rpc}", f"--metrics-port={metrics}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "quanary", "serve", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": "operator"},
    )
    try:
        yield Pod(process, f"http://127.0.0.1:{http}", f"127.0.0.1:{rpc}")
    finally:
        process.kill()
        process.wait()


async def asked_over_http(client: httpx.AsyncClient, pod: Pod) -> str:
    try:
        answer = await client.post(f"{pod.http}/v2/models/m/infer", json=BODY)
    except httpx.TransportError as error:
        return f"http {error!r}"
    return f"http {answer.status_code}"


async def asked_over_grpc(channels: dict[str, grpc.aio.Channel], pod: Pod) -> str:
    try:
        content = await channels[pod.rpc].unary_unary(f"{SERVICE}/ModelInfer")(CALL)
    except grpc.aio.AioRpcError as error:
        return f"grpc {error.code()} {error.details()}"
    return f"grpc {pb.ModelInferResponse.FromString(content).model_name}"


async def test_no_request_is_lost_over_sigterm(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with AsyncExitStack() as stack:
        pods = [stack.enter_context(pod(path)) for _ in range(2)]
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=60))
        channels = {one.rpc: grpc.aio.insecure_channel(one.rpc) for one in pods}
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        load = Load(pods)
        watching = [asyncio.create_task(load.watch(one, client)) for one in pods]

        async def are_ready() -> bool:
            return all(one.is_ready for one in pods)

        await until(are_ready, 60)
        asking = [asyncio.create_task(load.ask(i, lambda one: asked_over_http(client, one))) for i in range(CLIENTS)]
        asking += [asyncio.create_task(load.ask(i, lambda one: asked_over_grpc(channels, one))) for i in range(CLIENTS)]
        await asyncio.sleep(1)
        pods[0].process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        code = await asyncio.to_thread(pods[0].process.wait, 60)
        # It stayed for those that notice late, and left at the end.
        assert (code, time.monotonic() - started >= 5) == (0, True)
        await asyncio.sleep(0.5)
        load.is_over = True
        await asyncio.gather(*asking, *watching)
    assert set(load.answers) == {"http 200", "grpc m"}, load.answers
    assert min(load.answers.values()) > 100
