"""The model in another server: ours as the other one, and others that do what servers should not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from quanary.server.engine import Overloaded
from quanary.server.engine.room import Room
from quanary.server.messages import Signature
from quanary.server.session import UnservableModel, name_model
from quanary.server.tensors import Malformed
from quanary.server.upstream import Absent, Upstream, UpstreamEngine
from quanary.wire.inference import HEADER_LENGTH, TensorMetadata
from tests.server import models
from tests.server.running import Running, free_port, listening, running, until

X = np.array([[1, 2, 3, 4]], np.float32)
SIGNATURE = Signature((TensorMetadata("x", "FP32", (-1, 4)),), (TensorMetadata("y", "FP32", (-1, 2)),))
METADATA = {
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
Reply = tuple[int, Mapping[str, str], bytes]


@dataclass
class Other:
    """A server whose replies the test chooses: by path, else what a good one says."""

    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
            path = head.split()[1].decode()
            self.asked.append((path, await reader.readexactly(int(lines.get("content-length", "0")))))
            status, headers, body = self.replies.get(path, (200, {}, json.dumps(METADATA).encode()))
            rest = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{rest}content-length: {len(body)}\r\n\r\n".encode() + body)


def tensor(values: list[float], **changed: Any) -> Reply:
    """A good answer, but for what is changed."""
    body = np.array(values, "<f4").tobytes()
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": len(body)}}
    head = json.dumps({"model_name": "m", "outputs": [output | changed]}).encode()
    return 200, {HEADER_LENGTH: str(len(head))}, head + body


@asynccontextmanager
async def other(**replies: Reply) -> AsyncIterator[tuple[Other, Upstream, UpstreamEngine]]:
    server = Other({f"/v2/models/m/{path}": reply for path, reply in replies.items()})
    async with listening(server.answer) as url:
        upstream = Upstream(url, "m")
        engine = UpstreamEngine(upstream, SIGNATURE, Room(CollectorRegistry()))
        with contextlib.closing(upstream):
            yield server, upstream, engine


@asynccontextmanager
async def both(path: Path, **given: Any) -> AsyncIterator[tuple[Running, Running]]:
    """A server, and one before it that has no model of its own."""
    async with running(path, twin_port=0) as back, running(path, upstream=back.url, **given) as front:
        yield front, back


async def test_answers_are_those_of_the_server_behind(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with both(path) as (front, back):
        for features in ([1.0, 2, 3, 4], [-1.0, 0, 9, 2]):
            mine, its = await front.infer(features), await back.infer(features)
            assert (mine.status_code, mine.json()) == (its.status_code, its.json()) == (200, its.json())
        described = [(await front.client.get(f"{each.url}/v2/models/m")).json() for each in (front, back)]
        assert described[0] == described[1]
        counts = await front.counts("metrics")
        assert counts["requests"] == counts["execution_duration_seconds_count"] == 2


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "INT64", "UINT16", "FP16", "FP64", "BYTES"])
async def test_every_datatype_passes_both_servers(tmp_path: Path, datatype: str) -> None:
    path = models.write(tmp_path, models.echo(datatype))
    async with running(path, twin_port=0) as back:
        upstream = Upstream(back.url, "m")
        signature = await upstream.wait_until_ready()
        engine = UpstreamEngine(upstream, signature, Room(CollectorRegistry()))
        given = np.array(["", "a", "ü" * 300]) if datatype == "BYTES" else np.array([0, 1, 1])
        x = given.astype(
            np.object_ if datatype == "BYTES" else {"BOOL": "?", "FP16": "f2"}.get(datatype) or _dtype(datatype)
        )
        execution = await engine.infer({"x": x})
        assert execution.outputs["y"].tolist() == x.tolist()
        assert execution.seconds > 0
        upstream.close()


def _dtype(datatype: str) -> str:
    return datatype.lower().replace("fp", "float")


async def test_a_request_that_the_front_refuses_never_reaches_the_server_behind(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with both(path) as (front, back):
        tensor = {"name": "x", "shape": [1, 5], "datatype": "FP32", "data": [1, 2, 3, 4, 5]}
        refused = await front.client.post(f"{front.url}/v2/models/m/infer", json={"inputs": [tensor]})
        assert refused.status_code == 400
        assert (await back.counts())["requests"] == 0


@pytest.mark.parametrize(
    ("reply", "raised", "text"),
    [
        ((400, {}, b'{"error": "x is odd"}'), Malformed, "x is odd"),
        ((422, {}, b"no JSON"), Malformed, "no JSON"),
        ((404, {}, b'{"error": "unknown model"}'), Absent, "404: unknown model"),
        ((429, {}, b""), Absent, "429"),
        ((503, {}, b'{"error": "busy"}'), Absent, "503: busy"),
        ((500, {}, b'{"error": "kernel exploded"}'), RuntimeError, "500: kernel exploded"),
        ((302, {"location": "/"}, b""), RuntimeError, "302"),
    ],
    ids=str,
)
async def test_a_refusal_keeps_its_meaning(reply: Reply, raised: type[Exception], text: str) -> None:
    async with other(infer=reply) as (_, _, engine):
        with pytest.raises(Exception, match=text) as found:
            await engine.infer({"x": X})
        assert type(found.value) is raised


@pytest.mark.parametrize(
    "reply",
    [
        (200, {}, b"no JSON"),
        (200, {}, b'{"model_name": "m", "outputs": []}'),
        (200, {HEADER_LENGTH: "99999"}, b"{}"),
        tensor([1, 2], name="z"),
        tensor([1, 2], shape=[1, 3]),
        tensor([1, 2], shape=[-1, 2]),
        tensor([1, 2], datatype="INT32"),
        tensor([1, 2], datatype="FP99"),
    ],
    ids=["no JSON", "no output", "length", "name", "shape", "negative", "datatype", "unknown datatype"],
)
async def test_what_is_no_answer_is_the_models_failure_and_not_the_askers(reply: Reply) -> None:
    async with other(infer=reply) as (_, _, engine):
        with pytest.raises(RuntimeError, match="the model's server") as found:
            await engine.infer({"x": X})
        assert not isinstance(found.value, Overloaded)


async def test_all_outputs_are_asked_for_in_binary_whatever_a_user_wants() -> None:
    async with other(infer=tensor([1, 2])) as (server, _, engine):
        execution = await engine.infer({"x": X})
        assert execution.outputs["y"].tolist() == [[1, 2]]
        [(_, body)] = server.asked
        asked = json.loads(body[: -X.nbytes])
        assert body[-X.nbytes :] == X.tobytes()
        assert asked["outputs"] == [{"name": "y", "parameters": {"binary_data": True}}]


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/m/ready"])
async def test_a_server_is_ready_with_its_model_and_its_model_with_it(path: str) -> None:
    async with other() as (server, upstream, _):
        assert await upstream.is_ready()
        server.replies[path] = (400, {}, b"")
        assert not await upstream.is_ready()


async def test_nobody_there_is_told_from_a_model_that_fails() -> None:
    upstream = Upstream(f"http://127.0.0.1:{free_port()}", "m")
    with pytest.raises(Absent, match="not there"):
        await UpstreamEngine(upstream, SIGNATURE, Room(CollectorRegistry())).infer({"x": X})
    assert not await upstream.is_ready()


async def test_a_server_that_dies_of_a_request_is_the_models_failure() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with listening(die) as url:
        engine = UpstreamEngine(Upstream(url, "m"), SIGNATURE, Room(CollectorRegistry()))
        with pytest.raises(RuntimeError, match="gave no answer") as found:
            await engine.infer({"x": X})
        assert not isinstance(found.value, Overloaded)


async def test_requests_under_way_are_bounded_and_what_is_cancelled_leaves_its_place() -> None:
    connected: list[int] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)
        await reader.read()

    async with listening(hang) as url:
        upstream = Upstream(url, "m", connections=2)
        engine = UpstreamEngine(upstream, SIGNATURE, Room(CollectorRegistry(), limit=6))
        tasks = [asyncio.create_task(engine.infer({"x": X})) for _ in range(6)]

        async def are_two() -> bool:
            return len(connected) == 2

        await until(are_two)
        with pytest.raises(Overloaded, match="6 requests wait"):
            await engine.infer({"x": X})
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.infer({"x": X}), 0.2)
        assert len(connected) == 3


@pytest.mark.parametrize(
    "described",
    [
        b"no JSON",
        b'{"name": "m"}',
        json.dumps(METADATA | {"inputs": []}).encode(),
        json.dumps(METADATA | {"outputs": [{"name": "y", "datatype": "BF16", "shape": [1]}]}).encode(),
        json.dumps(METADATA | {"outputs": [{"name": "y", "datatype": "FP32", "shape": "any"}]}).encode(),
    ],
    ids=["no JSON", "no tensors", "no inputs", "BF16", "no shape"],
)
async def test_metadata_that_cannot_be_served_are_refused(described: bytes) -> None:
    async with other() as (server, upstream, _):
        server.replies["/v2/models/m"] = (200, {}, described)
        with pytest.raises(UnservableModel):
            await upstream.wait_until_ready()


async def test_the_front_is_ready_when_the_model_is_and_as_long_as_it_is(tmp_path: Path) -> None:
    path, port = models.write(tmp_path, models.classifier()), free_port()
    async with running(path, twin_port=0, http_port=port) as back, running(path, upstream=back.url) as front:
        back.stop.set()
        await back.task
        await until(lambda: is_state(front, 503))
        assert (await front.infer([1, 2, 3, 4])).status_code == 503
        async with running(path, twin_port=0, http_port=port):
            await until(lambda: is_state(front, 200))
            assert (await front.infer([1, 2, 3, 4])).status_code == 200


async def test_another_model_behind_is_not_served(tmp_path: Path) -> None:
    path, port = models.write(tmp_path, models.classifier()), free_port()
    another = models.write(tmp_path, models.lookup(), "another.onnx")
    async with running(path, twin_port=0, http_port=port) as back, running(path, upstream=back.url) as front:
        back.stop.set()
        await back.task
        await until(lambda: is_state(front, 503))
        async with running(another, twin_port=0, http_port=port) as intruder:
            # Two looks of the watch.
            await asyncio.sleep(2.5)
            assert await is_state(intruder, 200)
            assert await is_state(front, 503)


async def is_state(server: Running, status: int) -> bool:
    return (await server.client.get(f"{server.url}/v2/health/ready")).status_code == status


def test_the_file_is_named_without_being_kept(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    digest = models.digest_of(path)
    named = name_model(path, digest)
    assert (Path(named.path).read_bytes(), named.digest) == (b"", digest)
    with pytest.raises(UnservableModel, match="allowed: " + "0" * 64):
        name_model(path, "0" * 64)
    with pytest.raises(UnservableModel, match="No such file"):
        name_model(tmp_path / "missing", "")
