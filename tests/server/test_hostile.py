"""Hostile clients on real sockets: refused with a message, the process lives on, and its memory stays bounded."""

import asyncio
import contextlib
import gzip
import json
import os
import re
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from quanary.server import bodies
from quanary.server.http import connection
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.rpc import reading
from tests.conformance.target import Target, started
from tests.server import models
from tests.server.rpc.calling import Caller, calling, request
from tests.server.running import Running, free_port, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode()
POST = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: m\r\n"
GOOD = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    path = models.write(tmp_path_factory.mktemp("models"), models.classifier())
    async with running(path, grpc_port=free_port()) as one:
        yield one


async def said(port: int, *parts: bytes, is_half_closed: bool = False, pause: float = 0.0) -> bytes:
    """All that comes back on one connection until the server ends it, or says nothing more for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    hearing = asyncio.create_task(heard(reader))
    with contextlib.suppress(OSError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
            # What is sent to an end that has closed makes it forget its answer.
            if hearing.done():
                break
        if is_half_closed:
            writer.write_eof()
    answer = await hearing
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


async def heard(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(5):
            while part := await reader.read(2**16):
                answer += part
    return bytes(answer)


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


async def is_well(server: Running) -> None:
    assert (await server.infer([1, 0, 0, 0])).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000, 431),
        (b"GET /" + b"a" * 200_000, 431),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nhost: m\r\nx: \x00\r\n\r\n", 400),
        (POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        (POST + b"content-length: -5\r\n\r\n", 400),
        (POST + b"content-length: 99999999999999999999999999\r\n\r\n", 400),
        (POST + b"content-length: 70000000\r\n\r\n", 413),
        (POST + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
    ],
)
async def test_broken_heads_are_refused_in_json(server: Running, sent: bytes, status: int) -> None:
    answer = await said(server.arguments.http_port, sent)
    assert statuses(answer) == [status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]
    await is_well(server)


async def test_a_slow_head_is_408(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    drops = [b"GET /v2 HTTP/1.1\r\n", *[b"x: y\r\n"] * 20]
    assert statuses(await said(server.arguments.http_port, *drops, pause=0.05)) == [408]
    await is_well(server)


async def test_a_slow_body_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    drops = [POST + b"content-length: 500\r\n\r\n", *[b" "] * 20]
    async with running(models.write(tmp_path, models.classifier())) as server:
        assert statuses(await said(server.arguments.http_port, *drops, pause=0.05)) == [408]
        await is_well(server)


async def test_a_client_that_says_nothing_more_still_gets_its_answer(server: Running) -> None:
    answer = await said(server.arguments.http_port, GOOD, is_half_closed=True)
    assert statuses(answer) == [200]
    assert b'"scores"' in answer


async def test_a_client_that_ends_in_the_middle_gets_none(server: Running) -> None:
    for part in (GOOD[:20], GOOD[:-3]):
        assert await said(server.arguments.http_port, part, is_half_closed=True) == b""
    await is_well(server)


async def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    numbered = [BODY[:-1] + b',"id":"%d"}' % number for number in range(50)]
    sent = b"".join(POST + b"content-length: %d\r\n\r\n" % len(each) + each for each in numbered)
    answer = await said(server.arguments.http_port, sent, is_half_closed=True)
    assert statuses(answer) == [200] * 50
    assert [int(each) for each in re.findall(rb'"id":"(\d+)"', answer)] == list(range(50))


async def test_connections_are_bounded(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_LIMIT", 20)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", server.arguments.http_port)
            stack.callback(writer.close)
        assert statuses(await said(server.arguments.http_port)) == [503]

    async def is_open() -> bool:
        return statuses(await said(server.arguments.http_port, GOOD, is_half_closed=True)) == [200]

    await until(is_open)


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def literal(name: bytes, value: bytes) -> bytes:
    """A header field of HPACK that needs no table."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
CALL = frame(
    1,
    4,
    1,
    literal(b":method", b"POST")
    + literal(b":scheme", b"http")
    + literal(b":path", b"/inference.GRPCInferenceService/ModelInfer")
    + literal(b":authority", b"m")
    + literal(b"te", b"trailers")
    + literal(b"content-type", b"application/grpc"),
)


def message(content: bytes, declared: int | None = None) -> bytes:
    """The start of a gRPC message in a frame, of the length it declares."""
    size = len(content) if declared is None else declared
    return frame(0, 0, 1, b"\x00" + struct.pack(">I", size) + content)


async def test_a_call_whose_message_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_SECONDS", 0.3)
    async with running(models.write(tmp_path, models.classifier()), grpc_port=free_port()) as server:
        sending = asyncio.create_task(said(server.arguments.grpc_port, PREFACE, CALL, message(b"abc", 1000)))
        assert (await server.counted("requests"))["requests"] == 1
        await is_well(server)
        assert b"grpc-status" in await sending


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: m\r\n\r\n",
        os.urandom(1000),
        PREFACE + b"\xff" * 1000,
        PREFACE + CALL + message(b"", 2**32 - 1),
        PREFACE + CALL + frame(0, 1, 1, b"\x07\x00\x00\x00\x01\x00"),
        PREFACE + frame(1, 4, 1, b"\xff" * 100),
        PREFACE + b"".join(frame(6, 0, 0, b"12345678") for _ in range(5000)),
        PREFACE
        + b"".join(
            CALL[:5] + struct.pack(">I", 2 * i + 1) + CALL[9:] + frame(3, 0, 2 * i + 1, b"\x00" * 4) for i in range(500)
        ),
    ],
    ids=["http1", "noise", "frames", "length", "flag", "hpack", "pings", "resets"],
)
async def test_broken_http2_harms_nobody_else(server: Running, sent: bytes) -> None:
    await said(server.arguments.grpc_port, sent, is_half_closed=True)
    async with calling(server) as caller:
        assert (await caller.infer(request([1, 2, 3, 4]))).model_name == "m"


async def test_metadata_is_bounded(server: Running) -> None:
    async with calling(server) as caller:
        error = await caller.refused(request([1, 2, 3, 4]), metadata=[(f"x{i}", "y" * 1000) for i in range(200)])
        assert error.code().name in {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"}
        assert (await caller.infer(request([1, 2, 3, 4]))).model_name == "m"


@contextmanager
def process(folder: Path) -> Iterator[tuple[Target, int]]:
    """A server of its own, and its process id."""
    with started(models.write(folder, models.classifier()), "m", folder / "log") as target:
        inode = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines() if _listens(line, target)}
        (found,) = [pid for pid in Path("/proc").glob("[0-9]*") if _owns(pid, inode)]
        yield target, int(found.name)


def _listens(line: str, target: Target) -> bool:
    words = line.split()
    return words[1].endswith(f":{int(target.url.rpartition(':')[2]):04X}") and words[3] == "0A"


def _owns(pid: Path, inodes: set[str]) -> bool:
    with contextlib.suppress(OSError):
        return any(each.readlink().name == f"socket:[{inode}]" for each in (pid / "fd").iterdir() for inode in inodes)
    return False


def peak_mib(pid: int) -> int:
    """The most memory that the process ever had."""
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found) // 1024


def binary(shape: list[int], size: int, content: bytes) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + content, {"inference-header-content-length": str(len(head))}


def described(shape: str, data: bytes) -> bytes:
    return b'{"inputs":[{"name":"x","shape":%s,"datatype":"FP32","data":%s}]}' % (shape.encode(), data)


MIB = 2**20
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "deep JSON": (described("[1,4]", b"[" * (8 * MIB)), {}),
    "many numbers": (described("[2000000,4]", b"[" + b"1," * (7 * MIB) + b"1]"), {}),
    "many empty lists": (described("[1,4]", b"[" + b"[]," * (4 * MIB) + b"[]]"), {}),
    "many inputs": (b'{"inputs":[' + b'{"name":"x","shape":[1,4],"datatype":"FP32","data":[]},' * 200_000 + b"0]}", {}),
    "long names": (b'{"inputs":[{"name":"' + b"n" * (8 * MIB) + b'","shape":[],"datatype":"FP32"}]}', {}),
    "long shape": (described("[" + "1," * 2_000_000 + "1]", b"[1]"), {}),
    "huge shape": (described(f"[{2**62},4]", b"[1]"), {}),
    "huge zero": binary([0, 2**62], 0, b""),
    "NaN text": (described("[1,4]", b"[NaN,1,2,3]"), {}),
    "lying size": binary([2**20, 4], 2**40, bytes(16)),
    "much text": (b" " * (60 * MIB), {}),
    "bomb": (gzip.compress(bytes(64 * MIB)), {"content-encoding": "gzip"}),
}


async def test_memory_is_bounded_whatever_comes_in(tmp_path: Path) -> None:
    with process(tmp_path) as (target, pid):
        async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
            url = f"{target.url}/v2/models/m/infer"
            body, headers = binary([2_000_000, 4], 32_000_000, bytes(32_000_000))
            assert (await client.post(url, content=body, headers=headers)).status_code == 200
            before = peak_mib(pid)
            for name, (content, more) in BODIES.items():
                answers = await asyncio.gather(*(client.post(url, content=content, headers=more) for _ in range(4)))
                assert {answer.status_code for answer in answers} <= {400, 413, 503}, name
                assert all(answer.json()["error"] for answer in answers), name
            caller = Caller(target.grpc)
            good = request([1, 2, 3, 4])
            lies = [
                good.SerializeToString() + b"\x3a" + b"\xff" * 8,
                pb.ModelInferRequest(model_name="m", raw_input_contents=[bytes(60 * MIB)]),
            ]
            for lie in lies:
                for error in await asyncio.gather(*(caller.refused(lie) for _ in range(4))):
                    assert error.code().name in {"INVALID_ARGUMENT", "UNAVAILABLE"}
            assert (await caller.infer(good)).model_name == "m"
            await caller.channel.close()
            after = peak_mib(pid)
            # All bodies together are bounded by 256 MiB over each transport, and the JSON that is read by some 16 MiB.
            assert after < before + 1000
