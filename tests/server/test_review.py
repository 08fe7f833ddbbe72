"""Reviews on their way to a sink: the one of examples/review in a process of its own, and ones that misbehave."""

import asyncio
import base64
import contextlib
import errno
import json
import os
import runpy
import ssl
import stat
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client.parser import text_string_to_metric_families

from quanary.server import assembly
from quanary.server.data_plane import Inference
from quanary.server.engine import Execution
from quanary.server.messages import Signature
from quanary.server.review import delivery
from quanary.server.review import sink as sink_module
from quanary.server.review.delivery import outcome_of
from quanary.server.review.event import JSON_LIMIT_BYTES, Origin, Review, write_event
from quanary.server.review.sink import Sink, Undeliverable
from quanary.server.review.spool import Spool
from quanary.wire.inference import TensorMetadata
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError
from tests.server import models
from tests.server.running import Running, free_port, listening, running, until

CONSUMER = Path(__file__).parents[2] / "examples" / "review" / "consumer.py"
ESCALATED = "quanary-escalated"
SURE, UNSURE = [9.0, 0, 0, 0], [0.4, 0, 0.3, 0]
Event = dict[str, Any]


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(delivery, "FAREWELL_SECONDS", 0.5)


@pytest.fixture
def int8_path(tmp_path: Path) -> Path:
    return models.write(tmp_path, models.classifier(), "int8.onnx")


def reviewing(url: str, spool: Path, **more: Any) -> dict[str, Any]:
    given = {"variant": "int8", "escalate_below": 0.6, "escalate_to": "review", "escalation_budget": 1.0}
    return {**given, "review_sink": url, "review_spool": str(spool), **more}


@dataclass
class Consumer:
    """The sink of examples/review; it may be killed."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        words = (str(CONSUMER), str(self.folder), str(self.port))
        self.process = await asyncio.create_subprocess_exec(sys.executable, *words, stderr=DEVNULL)

        async def is_up() -> bool:
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", self.port))[1].close()
                return True
            return False

        await until(is_up)

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def events(self) -> list[Event]:
        path = self.folder / "reviews.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def asked(self) -> list[float]:
        """What tells the questions of the events apart, in the order they came."""
        return [event["data"]["inputs"][0]["data"][3] for event in self.events()]


@pytest.fixture
async def consumer(tmp_path: Path) -> AsyncIterator[Consumer]:
    (tmp_path / "reviews").mkdir()
    made = Consumer(tmp_path / "reviews")
    yield made
    if made.process is not None and made.process.returncode is None:
        await made.kill()


async def reviews_waiting(server: Running) -> float:
    return (await server.counts("metrics"))["reviews_waiting"]


async def lost(server: Running) -> dict[str, float]:
    """Reviews lost, by reason."""
    text = (await server.client.get(f"{server.metrics_url}/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    return {each.labels["reason"]: each.value for each in families["quanary_reviews_lost"].samples}


def question(number: int) -> list[float]:
    """The fourth feature changes no score."""
    return [*UNSURE[:3], float(number)]


async def ask(server: Running, numbers: range) -> list[httpx.Response]:
    return [await server.infer(question(number)) for number in numbers]


async def test_an_unsure_answer_is_int8_s_and_goes_to_the_sink(
    int8_path: Path, tmp_path: Path, consumer: Consumer
) -> None:
    await consumer.start()
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        unsure, sure = await server.infer(UNSURE), await server.infer(SURE)
        await until(lambda: has(consumer, 1))
        assert (unsure.headers[ESCALATED], unsure.headers["quanary-digest"]) == ("review", digest_of(int8_path))
        assert ESCALATED not in sure.headers
        counts = await server.counts()
        assert (counts["requests"], counts["escalated"], counts["escalations_refused"]) == (2, 1, 0)
    (event,) = consumer.events()
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "dev.quanary.review.v1", "m")
    assert event["source"].startswith("//")
    assert event["source"].endswith("/v2/models/m")
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    data = event["data"]
    assert (data["model_name"], data["digest"]) == ("m", digest_of(int8_path))
    assert 1 / 3 < data["confidence"] < 0.6
    (x,) = data["inputs"]
    assert (x["name"], x["datatype"], x["shape"]) == ("x", "FP32", [1, 4])
    assert x["data"] == pytest.approx(UNSURE)
    assert {each["name"]: each["data"] for each in data["outputs"]} == {
        each["name"]: each["data"] for each in unsure.json()["outputs"]
    }


async def has(consumer: Consumer, events: int) -> bool:
    return len(consumer.events()) >= events


def digest_of(path: Path) -> str:
    return models.digest_of(path)[:10]


async def test_an_outage_of_the_sink_loses_nothing_and_fails_nobody(
    int8_path: Path, tmp_path: Path, consumer: Consumer
) -> None:
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        answers = await ask(server, range(30))
        assert {(each.status_code, each.headers[ESCALATED]) for each in answers} == {(200, "review")}
        await until(lambda: waits(server, 30))
        await consumer.start()
        await until(partial(waits, server, 0))
        assert consumer.asked() == list(range(30))
        assert await lost(server) == {}


async def waits(server: Running, reviews: int) -> bool:
    return await reviews_waiting(server) == reviews


async def test_a_sink_killed_under_load_has_each_review_once(
    int8_path: Path, tmp_path: Path, consumer: Consumer
) -> None:
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        for batch in range(4):
            await consumer.start()
            asking = asyncio.create_task(ask(server, range(batch * 25, batch * 25 + 25)))
            await until(partial(has, consumer, batch * 25 + 5))
            await consumer.kill()
            await asking
        await consumer.start()
        await until(partial(waits, server, 0))
        assert sorted(consumer.asked()) == list(range(100))
        assert await lost(server) == {}


async def test_a_killed_server_sends_what_it_had_spooled(int8_path: Path, tmp_path: Path, consumer: Consumer) -> None:
    """A process of its own, ended without a chance to say farewell."""
    ports = {"http_port": free_port(), "metrics_port": free_port()}
    given = reviewing(consumer.url, tmp_path / "spool", **ports, max_batch=1)
    words = ServeArguments(str(int8_path), "m", **given).render()
    url = f"http://127.0.0.1:{ports['http_port']}/v2"
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "quanary.server", *words, stdout=DEVNULL)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:

            async def is_ready() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get(f"{url}/health/ready")).status_code == 200
                return False

            await until(is_ready)
            for number in range(20):
                tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": question(number)}
                await client.post(f"{url}/models/m/infer", json={"inputs": [tensor]})

            async def are_spooled() -> bool:
                return spooled(tmp_path / "spool") == 20

            await until(are_spooled)
    finally:
        process.kill()
        await process.wait()
    await consumer.start()
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        await until(partial(waits, server, 0))
        assert consumer.asked() == list(range(20))
    assert spooled(tmp_path / "spool") == 0


def spooled(folder: Path) -> int:
    """Lines on the disk."""
    return sum(len(each.read_bytes().splitlines()) for each in folder.glob("*.lines"))


async def test_a_server_that_ends_spools_what_it_was_asked(int8_path: Path, tmp_path: Path, consumer: Consumer) -> None:
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        await ask(server, range(50))
    assert spooled(tmp_path / "spool") == 50
    # With its last breath, if the sink is there.
    await consumer.start()
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        await ask(server, range(50, 60))
    assert sorted(consumer.asked()) == list(range(60))
    assert spooled(tmp_path / "spool") == 0


async def test_past_the_bound_the_newest_are_lost_and_counted(
    int8_path: Path, tmp_path: Path, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "SPOOL_EVENTS_LIMIT", 10)
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        answers = await ask(server, range(25))
        assert [each.headers.get(ESCALATED) for each in answers] == ["review"] * 10 + [None] * 15
        counts = await server.counts()
        assert (counts["escalated"], counts["escalations_refused"]) == (10, 15)
        assert await lost(server) == {"full": 15}
        await consumer.start()
        await until(partial(waits, server, 0))
        assert consumer.asked() == list(range(10))
        # There is room again.
        await ask(server, range(25, 26))
        await until(lambda: has(consumer, 11))


async def test_a_review_that_is_too_large_is_lost_and_said_so(
    int8_path: Path, tmp_path: Path, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "EVENT_BYTES_LIMIT", 10)
    async with running(int8_path, **reviewing(consumer.url, tmp_path / "spool")) as server:
        assert ESCALATED not in (await server.infer(UNSURE)).headers
        assert await lost(server) == {"large": 1}


async def test_the_budget_bounds_reviews_too(int8_path: Path, tmp_path: Path, consumer: Consumer) -> None:
    given = reviewing(consumer.url, tmp_path / "spool", escalation_budget=0.1)
    async with running(int8_path, **given) as server:
        answers = await ask(server, range(30))
        reviewed = sum(ESCALATED in each.headers for each in answers)
        assert 3 < reviewed <= 6
        counts = await server.counts()
        assert (counts["escalated"], counts["escalations_refused"]) == (reviewed, 30 - reviewed)
        assert await lost(server) == {}


async def test_a_disk_that_is_gone_fails_no_user(int8_path: Path, tmp_path: Path, consumer: Consumer) -> None:
    spool = tmp_path / "spool"
    async with running(int8_path, **reviewing(consumer.url, spool)) as server:
        for each in spool.iterdir():
            each.unlink()
        spool.rmdir()
        assert (await server.infer(UNSURE)).status_code == 200

        async def is_lost() -> bool:
            return await lost(server) == {"disk": 1}

        await until(is_lost)
        spool.mkdir()
        await consumer.start()
        await ask(server, range(1, 2))
        await until(lambda: has(consumer, 1))
        assert consumer.asked() == [1]


@dataclass
class Scripted:
    """A sink that answers by what it is sent, and remembers it."""

    answer: Callable[[list[float]], int]
    bodies: list[list[float]] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert "content-type: application/cloudevents-batch+json" in head
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        events = json.loads(await reader.readexactly(length))
        asked = [event["data"]["inputs"][0]["data"][3] for event in events]
        self.bodies.append(asked)
        status = self.answer(asked)
        if 200 <= status < 300:
            self.taken += asked
        writer.write(f"HTTP/1.1 {status} X\r\n\r\n".encode())
        await writer.drain()


async def test_what_waited_is_sent_in_batches(int8_path: Path, tmp_path: Path) -> None:
    is_up = False
    sink = Scripted(lambda asked: 200 if is_up else 503)
    async with listening(sink.handle) as url, running(int8_path, **reviewing(url, tmp_path / "spool")) as server:
        await ask(server, range(150))
        await until(lambda: waits(server, 150))
        sink.bodies.clear()
        is_up = True
        await until(partial(waits, server, 0))
        assert sink.taken == list(range(150))
        assert len([each for each in sink.bodies if each]) <= 4


async def test_a_review_that_the_sink_cannot_take_holds_up_no_other(int8_path: Path, tmp_path: Path) -> None:
    sink = Scripted(lambda asked: 422 if 3 in asked else 202)
    async with listening(sink.handle) as url, running(int8_path, **reviewing(url, tmp_path / "spool")) as server:
        await asyncio.gather(*(server.infer(question(number)) for number in range(20)))
        await until(partial(waits, server, 0))
        assert sorted(sink.taken) == [number for number in range(20) if number != 3]
        assert await lost(server) == {"refused": 1}


async def test_an_outage_among_single_ones_keeps_the_rest(int8_path: Path, tmp_path: Path) -> None:
    failures = iter([503, 503])

    def answer(asked: list[float]) -> int:
        if len(asked) > 1:
            return 413
        return next(failures, 200) if asked == [4] else 200

    sink = Scripted(answer)
    async with listening(sink.handle) as url, running(int8_path, **reviewing(url, tmp_path / "spool")) as server:
        await asyncio.gather(*(server.infer(question(number)) for number in range(10)))
        await until(partial(waits, server, 0))
        assert sorted(sink.taken) == list(range(10))
        assert await lost(server) == {}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        *((status, "taken") for status in (200, 202, 204)),
        *((status, "refused") for status in (400, 409, 410, 413, 422)),
        *((status, "again") for status in (301, 401, 403, 404, 408, 429, 500, 503, 504)),
    ],
)
def test_statuses_of_the_event_and_of_the_sink(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


async def test_a_sink_that_hangs_delays_nobody(
    int8_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_module, "ATTEMPT_SECONDS", 0.3)
    attempts = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        await reader.read()

    async with listening(hang) as url, running(int8_path, **reviewing(url, tmp_path / "spool")) as server:
        answers = await ask(server, range(20))
        assert {each.status_code for each in answers} == {200}

        async def is_tried_again() -> bool:
            return attempts >= 2

        await until(is_tried_again)
        await until(lambda: waits(server, 20))


def test_the_example_s_file_stays_whole_whatever_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def events(*names: int) -> list[Event]:
        return [{"source": "//pod", "id": str(each), "text": "a\nb"} for each in names]

    def newest(reviews: Any) -> list[int]:
        return [int(event["id"]) for event in json.loads(reviews.newest())]

    make, path = runpy.run_path(str(CONSUMER))["Reviews"], tmp_path / "reviews.jsonl"
    reviews = make(path)
    assert newest(reviews) == []
    reviews.add(events(1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: os.close(-1))  # a full disk, after part of the batch
        with pytest.raises(OSError, match="Bad file descriptor"):
            reviews.add(events(3, 4, 5))
    reviews.add(events(4, 2))
    assert newest(reviews) == [1, 2, 4]
    with path.open("ab") as file:
        file.write(b'{"source": "//po')  # cut off by a crash
    again = make(path)
    again.add(events(1, *range(100, 220)))
    assert newest(again) == list(range(120, 220))
    assert len(path.read_bytes().splitlines()) == 123


def test_the_example_s_pod_is_restricted_and_has_all_it_mounts() -> None:
    kinds = {each["kind"]: each for each in yaml.safe_load_all(CONSUMER.with_name("consumer.yaml").read_text())}
    assert set(kinds) == {"Service", "Deployment", "PersistentVolumeClaim", "NetworkPolicy"}
    template = kinds["Deployment"]["spec"]["template"]
    for name in ("Service", "NetworkPolicy"):
        selector = kinds[name]["spec"].get("selector") or kinds[name]["spec"]["podSelector"]["matchLabels"]
        assert selector == template["metadata"]["labels"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    kustomization = yaml.safe_load(CONSUMER.with_name("kustomization.yaml").read_text())
    files = [*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]]
    assert all((CONSUMER.parent / each).exists() for each in files)


class TestEvent:
    def event(self, datatype: str, array: np.ndarray[Any, Any]) -> dict[str, Any]:
        signature = Signature((TensorMetadata("x", datatype, (-1,)),), (TensorMetadata("y", "FP32", (-1,)),))
        inference = Inference.of({"x": array}, Execution({"y": np.ones(1, np.float32)}, 0.1))
        line = write_event(Review(inference), Origin("a model", "0123456789", "pod", signature), 0.5)
        assert b"\n" not in line
        event = json.loads(line)
        assert event["source"] == "//pod/v2/models/a%20model"
        return cast("dict[str, Any]", event["data"]["inputs"][0])

    def test_small_tensors_are_json(self) -> None:
        assert self.event("INT64", np.array([1, 2**40]))["data"] == [1, 2**40]
        assert self.event("BYTES", np.array(["a\nb", "ä"], np.object_))["data"] == ["a\nb", "ä"]
        assert self.event("BOOL", np.array([True, False]))["data"] == [True, False]

    @pytest.mark.parametrize(
        ("datatype", "array"),
        [
            ("FP32", np.arange(JSON_LIMIT_BYTES, dtype=np.float32)),
            ("FP16", np.array([1.5], np.float16)),
            ("FP32", np.array([np.nan, np.inf], np.float32)),
        ],
    )
    def test_large_ones_and_what_json_cannot_say_are_binary(self, datatype: str, array: np.ndarray[Any, Any]) -> None:
        tensor = self.event(datatype, array)
        assert "data" not in tensor
        assert np.array_equal(
            np.frombuffer(base64.b64decode(tensor["data_base64"]), array.dtype), array, equal_nan=True
        )

    def test_ids_are_unique(self) -> None:
        inference = Inference.of({}, Execution({}, 0.1))
        assert len({Review(inference).id for _ in range(1000)}) == 1000


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def taken_of_the_disk(folder: Path) -> int:
    return sum(each.stat().st_blocks * 512 for each in folder.glob("*.lines"))


class TestSpool:
    def spool(self, folder: Path, lines: int = 100, size: int = 2**20) -> Spool:
        return Spool(folder, lines_limit=lines, bytes_limit=size)

    async def test_it_is_there_after_the_process(self, tmp_path: Path) -> None:
        first = self.spool(tmp_path / "new" / "folder")
        for each in ([b"a", b"b"], [b"c"]):
            await first.append(each)
        first.close()
        second = self.spool(tmp_path / "new" / "folder")
        assert (second.lines, second.size_bytes) == (3, 2 * 4096)
        one, two = second.oldest(10, 2**20)
        assert [await second.read(each) for each in (one, two)] == [[b"a", b"b"], [b"c"]]
        second.remove(one)
        await second.append([b"d"])
        assert [await second.read(each) for each in second.oldest(10, 2**20)] == [[b"c"], [b"d"]]
        second.close()

    async def test_what_it_takes_of_the_disk_is_what_is_bounded(self, tmp_path: Path) -> None:
        spool = self.spool(tmp_path, size=40 * 4096)
        while spool.fits(1, 100):
            await spool.append([b"x" * 100])
        await spool.shorten(spool.oldest(1, 1)[0], [b"x"])
        assert taken_of_the_disk(tmp_path) <= spool.size_bytes == 40 * 4096
        assert spool.lines == 40
        spool.close()

    async def test_what_could_not_be_made_durable_is_not_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool, sync = self.spool(tmp_path), os.fsync

        def fail_on_folders(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EIO, "broken")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fail_on_folders)
        with pytest.raises(OSError, match="broken"):
            await spool.append([b"a"])
        assert (spool.lines, names_in(tmp_path)) == (0, [".lock"])
        spool.close()

    def test_what_was_not_finished_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "000000000001-2.lines.unfinished").write_bytes(b"a")
        (tmp_path / "notes.txt").write_bytes(b"somebody else's")
        spool = self.spool(tmp_path)
        assert spool.lines == 0
        assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", "notes.txt"]
        spool.close()

    async def test_bounds_of_lines_and_bytes(self, tmp_path: Path) -> None:
        spool = self.spool(tmp_path, lines=3, size=3 * 4096)
        assert spool.fits(3, 3 * 4096)
        assert not spool.fits(4, 1)
        assert not spool.fits(1, 3 * 4096 + 1)
        await spool.append([b"a" * 4096, b"b"])
        assert spool.fits(1, 4096)
        assert not spool.fits(1, 4097)
        assert not spool.fits(2, 1)
        spool.close()

    async def test_a_taking_is_bounded_but_never_empty(self, tmp_path: Path) -> None:
        spool = self.spool(tmp_path)
        for each in ([b"a" * 5000], [b"b"], [b"c"]):
            await spool.append(each)
        assert [each.lines for each in spool.oldest(2, 2**20)] == [1, 1]
        assert [each.size_bytes for each in spool.oldest(10, 3)] == [2 * 4096]
        spool.close()

    async def test_the_rest_of_a_segment_stays_the_oldest(self, tmp_path: Path) -> None:
        spool = self.spool(tmp_path)
        await spool.append([b"a", b"b", b"c"])
        await spool.append([b"d"])
        (first,) = spool.oldest(1, 1)
        await spool.shorten(first, [b"b", b"c"])
        assert (spool.lines, spool.size_bytes) == (3, 2 * 4096)
        spool.close()
        again = self.spool(tmp_path)
        assert [await again.read(each) for each in again.oldest(10, 2**20)] == [[b"b", b"c"], [b"d"]]
        again.close()

    def test_two_servers_cannot_share_one(self, tmp_path: Path) -> None:
        spool = self.spool(tmp_path)
        with pytest.raises(OSError, match="another process has this spool"):
            self.spool(tmp_path)
        spool.close()
        self.spool(tmp_path).close()


class TestSink:
    @pytest.mark.parametrize(
        ("host", "may_be_local"),
        [
            ("127.0.0.1", False),
            ("[::1]", False),
            ("169.254.169.254", False),
            ("169.254.169.254", True),
            ("[fd00:ec2::254]", True),
            ("0.0.0.0", True),
        ],
    )
    def test_an_address_of_this_machine_or_its_cloud_is_refused(self, host: str, may_be_local: bool) -> None:
        with pytest.raises(RefusedError, match=r"spec\.escalation\.sink: found http://"):
            Sink(f"http://{host}:8080", may_be_local=may_be_local)

    async def test_a_name_is_judged_by_where_it_leads(self) -> None:
        async with listening(ok) as numbers:
            url = numbers.replace("127.0.0.1", "localhost")
            with pytest.raises(Undeliverable, match=r"localhost is at .*, a loopback, link-local or metadata address"):
                await Sink(url, may_be_local=False).post(b"", "text/plain")
            assert await Sink(url, may_be_local=True).post(b"", "text/plain") == 200

    async def test_what_is_sent(self) -> None:
        received = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.append(await reader.readuntil(b"\r\n\r\n"))
            received.append(await reader.readexactly(4))
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")

        async with listening(handle) as url:
            assert await Sink(f"{url}/path?a=b", may_be_local=True).post(b"body", "text/plain") == 204
        start, *lines = received[0].decode().split("\r\n")[:-2]
        assert start == "POST /path?a=b HTTP/1.1"
        assert f"host: {url.removeprefix('http://')}" in lines
        assert {"content-type: text/plain", "content-length: 4", "connection: close"} < set(lines)
        assert received[1] == b"body"

    @pytest.mark.parametrize(
        "said", [b"", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 many\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"x" * 2**17]
    )
    async def test_what_is_no_answer(self, said: bytes) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)

        async with listening(handle) as url:
            with pytest.raises(Undeliverable):
                await Sink(url, may_be_local=True).post(b"", "text/plain")

    async def test_nobody_there(self) -> None:
        for url in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid"):
            with pytest.raises(Undeliverable):
                await Sink(url, may_be_local=True).post(b"", "text/plain")

    async def test_tls_is_verified(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        certificate, key = self_signed(tmp_path, "localhost")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        server = await asyncio.start_server(ok, "127.0.0.1", 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Undeliverable, match="certificate verify failed"):
                await Sink(f"https://localhost:{port}", may_be_local=True).post(b"", "text/plain")
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            assert await Sink(f"https://localhost:{port}", may_be_local=True).post(b"", "text/plain") == 200
            with pytest.raises(Undeliverable, match="certificate verify failed"):
                await Sink(f"https://127.0.0.1:{port}", may_be_local=True).post(b"", "text/plain")


async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
    writer.close()


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for that name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
