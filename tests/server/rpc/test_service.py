"""Calls over real sockets: what is answered, what is refused with which code, and what is counted."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2

from quanary.server.bodies import BODY_LIMIT_BYTES
from quanary.server.engine import Engine
from quanary.server.rpc import health as health_module
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.rpc import reading, service
from tests.server import models
from tests.server.engines import Failing, Held, Hung
from tests.server.rpc.calling import SERVICE, Caller, calling, request
from tests.server.running import Running, free_port, running, until

# Another process, so that its messages are not in this one's memory.
SENDER = """
import sys, time, grpc
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1], [("grpc.max_send_message_length", -1)])
grpc.channel_ready_future(channel).result(20)
print("ready", flush=True)
calls = [channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(bytes(2**24)) for _ in range(16)]
time.sleep(60)
"""
pytestmark = pytest.mark.asyncio(loop_scope="module")
Code = grpc.StatusCode


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    path = models.write(tmp_path_factory.mktemp("models"), models.classifier())
    async with running(path, grpc_port=free_port()) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def caller(server: Running) -> AsyncIterator[Caller]:
    async with calling(server) as one:
        yield one


async def test_an_inference_is_answered_with_its_digest(server: Running, caller: Caller) -> None:
    call = caller.channel.unary_unary(f"{SERVICE}/ModelInfer")(request([1, 2, 3, 4], id="q").SerializeToString())
    answer = pb.ModelInferResponse.FromString(await call)
    assert (answer.id, list(answer.outputs[0].contents.fp32_contents)) == ("q", [1, 2, 3])
    assert dict(await call.trailing_metadata())["quanary-digest"] == models.digest_of(Path(server.arguments.model))[:10]


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (request([1, 2, 3, 4], model_name="z"), Code.NOT_FOUND, "unknown model 'z'; this server has 'm'"),
        (request([1, 2, 3, 4], model_version="2"), Code.NOT_FOUND, "unknown version '2'"),
        (request([1, 2, 3]), Code.INVALID_ARGUMENT, "3 elements"),
        (pb.ModelInferRequest(model_name="m"), Code.INVALID_ARGUMENT, "'x' is missing"),
        (b"\xff\xff", Code.INVALID_ARGUMENT, "no inference.ModelInferRequest"),
        (b"", Code.NOT_FOUND, "unknown model ''"),
    ],
)
async def test_mistakes_get_their_code(caller: Caller, message: Any, code: Any, words: str) -> None:
    error = await caller.refused(message)
    assert error.code() == code
    assert words in error.details()
    assert "quanary-digest" in dict(error.trailing_metadata())


@pytest.mark.parametrize("call", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
async def test_an_unknown_model_is_not_found_whatever_is_asked(caller: Caller, call: str) -> None:
    content = pb.ModelReadyRequest(name="z").SerializeToString()
    assert (await caller.refused(content, call)).code() == Code.NOT_FOUND
    assert (await caller.refused(b"\xff", call)).code() == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "SystemSharedMemoryRegister", "LogSettings", "Nonsense"])
async def test_what_is_not_spoken_is_unimplemented(caller: Caller, call: str) -> None:
    error = await caller.refused(b"", call)
    assert (error.code(), "not spoken here" in error.details()) == (Code.UNIMPLEMENTED, True)


async def test_streams_are_unimplemented(caller: Caller) -> None:
    stream = caller.channel.stream_stream(f"{SERVICE}/ModelStreamInfer")()
    await stream.write(request([1, 2, 3, 4]).SerializeToString())
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stream.read()
    assert error.value.code() == Code.UNIMPLEMENTED


async def test_a_message_over_the_limit_is_refused_and_the_channel_lives(caller: Caller) -> None:
    error = await caller.refused(bytes(BODY_LIMIT_BYTES + 1))
    assert error.code() == Code.RESOURCE_EXHAUSTED
    assert (await caller.infer(request([1, 2, 3, 4]))).model_name == "m"


async def test_compressed_messages_are_refused_before_they_are_unpacked(caller: Caller) -> None:
    error = await caller.refused(request([1, 2, 3, 4], id="x" * 10_000), compression=grpc.Compression.Gzip)
    assert error.code() == Code.UNIMPLEMENTED


async def test_both_transports_count_alike(server: Running, caller: Caller) -> None:
    before = await server.counts("metrics")
    await caller.infer(request([1, 2, 3, 4]))
    await caller.refused(request([1, 2]))
    await caller.refused(b"\xff\xff")
    await caller.refused(request([1, 2], model_name="z"))
    after = await server.counts("metrics")
    names = ("requests", "errors", "request_duration_seconds_count", "execution_duration_seconds_count")
    assert [after[name] - before[name] for name in names] == [3, 0, 3, 1]
    statistics = pb.ModelStatisticsResponse.FromString(await caller.send("ModelStatistics", b""))
    answer = await server.client.get(f"{server.url}/v2/models/m/stats")
    assert statistics.model_stats[0].inference_count == answer.json()["model_stats"][0]["inference_count"] > 0


async def test_failures_of_the_model_are_internal_errors_and_count(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, Failing, grpc_port=free_port()) as server, calling(server) as caller:
        error = await caller.refused(request([1, 2, 3, 4]))
        assert (error.code(), error.details()) == (Code.INTERNAL, "inference failed: kernel exploded")
        counts = await server.counts()
        assert (counts["requests"], counts["errors"]) == (1, 1)


async def test_a_hung_model_is_an_error_even_if_the_client_waits_no_longer(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, Hung, grpc_port=free_port(), deadline_seconds=0.5) as server, calling(server) as caller:
        mine = await caller.refused(request([1, 2, 3, 4]))
        assert (mine.code(), mine.details()) == (Code.DEADLINE_EXCEEDED, "no answer within 0.5 s")
        theirs = await caller.refused(request([1, 2, 3, 4]), timeout=0.1)
        assert (theirs.code(), theirs.details()) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        counts = await server.counted("errors", 2)
        assert (counts["requests"], counts["errors"]) == (2, 2)


async def test_critical_calls_are_in_no_counter(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    critical: dict[str, Any] = {"critical_header": "X-Critical=true"}
    async with running(path, grpc_port=free_port(), **critical) as server, calling(server) as caller:
        await caller.infer(request([1, 2, 3, 4]), metadata=[("x-critical", "true")])
        await caller.refused(request([1, 2]), metadata=[("x-critical", "true")])
        assert (await server.counts())["requests"] == 0
        await caller.infer(request([1, 2, 3, 4]), metadata=[("x-critical", "false")])
        assert (await server.counts())["requests"] == 1


async def test_answers_over_grpc_are_compared_too(tmp_path: Path) -> None:
    path, other = models.write(tmp_path, models.classifier()), models.write(tmp_path, models.classifier((0, 9, 0)), "o")
    async with running(other) as twin:
        more: dict[str, Any] = {"twin_url": twin.twin_url, "sample_ratio": 1.0}
        async with running(path, grpc_port=free_port(), **more) as server, calling(server) as caller:
            await caller.infer(request([5, 0, 0, 0]))
            counts = await server.counted("compared")
            assert (counts["compared"], counts["mismatched"]) == (1, 1)


async def test_a_message_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.2)
    path = models.write(tmp_path, models.classifier())
    async with running(path, grpc_port=free_port()) as server, calling(server) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            # A stream without a message looks like a message that never comes.
            await caller.channel.stream_unary(f"{SERVICE}/ModelInfer")(wait_for_ready=True)
        assert error.value.code() == Code.DEADLINE_EXCEEDED
        assert "not complete within 0.2 s" in str(error.value.details())
        assert (await server.counts())["requests"] == 1


async def test_only_so_many_messages_are_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READING_LIMIT", 1)
    monkeypatch.setattr(reading, "TURN_SECONDS", 0.5)
    path = models.write(tmp_path, models.classifier())
    async with running(path, grpc_port=free_port()) as server, calling(server) as caller:
        slow = caller.channel.stream_unary(f"{SERVICE}/ServerLive")(wait_for_ready=True)
        await slow.wait_for_connection()
        # Whatever is called takes its turn: no message is read beside the slow one.
        for call in ("ModelInfer", "ServerLive"):
            assert (await caller.refused(request([1, 2, 3, 4]), call)).code() == Code.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await health(caller, "")
        assert error.value.code() == Code.UNAVAILABLE
        late = asyncio.create_task(caller.infer(request([1, 2, 3, 4])))
        slow.cancel()
        assert (await late).model_name == "m"


async def test_beyond_so_many_that_wait_for_their_turn_all_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READING_LIMIT", 0)
    monkeypatch.setattr(reading, "WAITING_LIMIT", 0)
    path = models.write(tmp_path, models.classifier())
    async with running(path, grpc_port=free_port()) as server, calling(server) as caller:
        error = await caller.refused(request([1, 2, 3, 4]))
        assert (error.code(), dict(error.trailing_metadata())["retry-after"]) == (Code.UNAVAILABLE, "1")
        assert (await server.counts())["errors"] == 1


async def test_messages_that_wait_for_their_turn_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "READING_LIMIT", 0)
    path = models.write(tmp_path, models.classifier())
    async with running(path, grpc_port=free_port()) as server:
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SENDER, str(server.arguments.grpc_port), stdout=asyncio.subprocess.PIPE
        )
        assert sender.stdout
        await sender.stdout.readline()
        before = resident_bytes()
        await asyncio.sleep(1)
        after = resident_bytes()
        sender.kill()
        await sender.wait()
        # 16 messages of 16 MiB each.
        assert after - before < 64 * 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def health(caller: Caller, name: str) -> int:
    content = health_pb2.HealthCheckRequest(service=name).SerializeToString()
    answer = await caller.channel.unary_unary("/grpc.health.v1.Health/Check")(content, wait_for_ready=True)
    return int(health_pb2.HealthCheckResponse.FromString(answer).status)


async def test_only_so_many_watch_the_health(server: Running, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "WATCHERS_LIMIT", 1)
    watch = caller.channel.unary_stream("/grpc.health.v1.Health/Watch")
    first, second = watch(b"", wait_for_ready=True), watch(b"", wait_for_ready=True)
    heard = health_pb2.HealthCheckResponse.FromString(await first.read())
    assert heard.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await second.read()
    assert (error.value.code(), error.value.details()) == (Code.UNAVAILABLE, "1 watch already")
    first.cancel()

    async def is_free() -> bool:
        third = watch(b"")
        try:
            return bool(await third.read())
        except grpc.aio.AioRpcError:
            return False
        finally:
            third.cancel()

    await until(is_free)


async def is_not_serving(caller: Caller) -> bool:
    return bool(await health(caller, "") != health_pb2.HealthCheckResponse.SERVING)


async def test_draining_is_announced_first_and_what_runs_is_finished(tmp_path: Path) -> None:
    path, release = models.write(tmp_path, models.classifier()), asyncio.Event()
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    held: list[Held] = []

    def hold(engine: Engine) -> Engine:
        held.append(Held(engine, release))
        return held[0]

    async with running(path, hold, grpc_port=free_port(), notice=1.0) as server, calling(server) as caller:
        assert [await health(caller, name) for name in ("", service.SERVICE)] == [serving] * 2
        running_call = asyncio.create_task(caller.infer(request([1, 2, 3, 4])))
        await asyncio.wait_for(held[0].reached.wait(), 20)
        server.stop.set()
        await until(lambda: is_not_serving(caller))
        assert [await health(caller, name) for name in ("", service.SERVICE)] == [not_serving] * 2
        ready = pb.ServerReadyResponse.FromString(await caller.send("ServerReady", b""))
        assert not ready.ready
        # Whoever has not noticed yet is still heard.
        late = asyncio.create_task(caller.infer(request([4, 3, 2, 1])))
        await asyncio.sleep(1.2)
        release.set()
        answers = [await running_call, await late]
        assert [each.outputs[0].contents.fp32_contents[0] for each in answers] == [1, 4]
