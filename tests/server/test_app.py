"""The routes over real sockets, as clients of the protocol use them."""

import asyncio
import base64
import gzip
import json
import random
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from quanary.server import __main__ as program
from quanary.server import assembly
from quanary.server.app import ProtocolApp
from quanary.server.metrics import Metrics
from quanary.server.traffic import TWIN_WAITING_LIMIT, Front, TwinTraffic, UserTraffic
from tests.server import models
from tests.server.engines import Cancelled, Failing, Hung, Slow
from tests.server.running import Running, asking, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics"]
ONE = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 0]}


# One server for all that leave it as it was.
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    path = models.write(tmp_path_factory.mktemp("models"), models.classifier())
    async with running(path) as one:
        yield one


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2", {"name": "quanary", "version": "0.1.0", "extensions": EXTENSIONS}),
        ("/v2/", {"name": "quanary", "version": "0.1.0", "extensions": EXTENSIONS}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/m/ready", {"name": "m", "ready": True}),
        ("/v2/models/m/versions/1/ready", {"name": "m", "ready": True}),
    ],
)
async def test_states_are_told(server: Running, path: str, expected: dict[str, Any]) -> None:
    answer = await server.client.get(server.url + path)
    assert (answer.status_code, answer.json()) == (200, expected)


@pytest.mark.parametrize("path", ["/v2/models/m", "/v2/models/m/versions/1"])
async def test_metadata_says_what_varies(server: Running, path: str) -> None:
    assert (await server.client.get(server.url + path)).json() == {
        "name": "m",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "total", "datatype": "FP32", "shape": []},
        ],
    }


@pytest.mark.parametrize("route", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
async def test_json_in_json_out(server: Running, route: str) -> None:
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    answer = await server.client.post(server.url + route, json={"id": "q7", "inputs": [tensor]})
    assert answer.status_code == 200
    assert answer.json() == {
        "model_name": "m",
        "model_version": "1",
        "id": "q7",
        "outputs": [
            {"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 5, 6, 7]},
            {"name": "total", "datatype": "FP32", "shape": [], "data": [24]},
        ],
    }


async def test_outputs_come_as_asked_and_in_that_order(server: Running) -> None:
    asked = {"inputs": [ONE], "outputs": [{"name": "total"}, {"name": "scores"}]}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", json=asked)
    assert [each["name"] for each in answer.json()["outputs"]] == ["total", "scores"]
    only = await server.client.post(f"{server.url}/v2/models/m/infer", json={**asked, "outputs": [{"name": "total"}]})
    assert [each["name"] for each in only.json()["outputs"]] == ["total"]
    assert "id" not in only.json()


async def test_the_bytes_of_tritonclient_are_understood(server: Running) -> None:
    # What tritonclient sends by default: no outputs named, everything in binary.
    head = (
        b'{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":16}}]}'
    )
    content = head + struct.pack("<4f", 1, 2, 3, 4)
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:length])["outputs"]
    assert [each["parameters"] for each in outputs] == [{"binary_data_size": 12}, {"binary_data_size": 4}]
    assert struct.unpack("<4f", answer.content[length:]) == (1, 2, 3, 6)


async def test_binary_is_chosen_output_by_output(server: Running) -> None:
    outputs = [{"name": "scores", "parameters": {"binary_data": False}}, {"name": "total"}]
    asked = {"inputs": [ONE], "outputs": outputs, "parameters": {"binary_data_output": True}}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", json=asked)
    length = int(answer.headers["inference-header-content-length"])
    scores, total = json.loads(answer.content[:length])["outputs"]
    assert (scores["data"], total["parameters"]) == ([1, 0, 0], {"binary_data_size": 4})
    assert np.frombuffer(answer.content[length:], "<f4").tolist() == [1]


async def test_a_body_of_nothing_but_the_tensor_is_understood(server: Running) -> None:
    headers = {"Inference-Header-Content-Length": "0"}
    content = struct.pack("<8f", *range(8))
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:length])["outputs"][0]["shape"] == [2, 3]


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/m/versions/2", 404),
        ("GET", "/v2/models/m/nonsense", 404),
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/m/infer", 405),
        ("POST", "/v2/models/m", 405),
        ("POST", "/v2/health/ready", 405),
        ("DELETE", "/v2", 405),
    ],
)
async def test_wrong_ways_are_refused_in_json(server: Running, verb: str, path: str, status: int) -> None:
    answer = await server.client.request(verb, server.url + path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert answer.headers["quanary-digest"] == models.digest_of(Path(server.arguments.model))[:10]


DEEP = b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.mark.parametrize(
    ("content", "header", "words"),
    [
        (b"", None, "JSON"),
        (b"[]", None, "JSON"),
        (b"{}", None, "inputs"),
        (b'{"inputs":[]}', None, "'x' is missing"),
        (DEEP, None, "JSON"),
        (b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":' + b"[" * 100_000, None, "JSON"),
        (b'{"id":7,"inputs":[]}', None, "id"),
        (b'{"inputs":[]}', b"99", "Content-Length"),
        (b'{"inputs":[]}', b"-1", "Content-Length"),
        (b'{"inputs":[]}', b"1e3", "Content-Length"),
        (b'{"inputs":[]}rest', b"13", "4 bytes follow"),
        (b"\xff\xfe", None, "JSON"),
        (b"123", b"0", "3 bytes"),
    ],
)
async def test_hostile_bodies_get_a_message(server: Running, content: bytes, header: bytes | None, words: str) -> None:
    headers = {} if header is None else {b"inference-header-content-length": header}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert (await server.infer([1, 0, 0, 0])).status_code == 200


async def test_an_oversized_body_is_413_before_it_is_sent(server: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.arguments.http_port)
    writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: m\r\ncontent-length: 9999999999\r\n\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()
    assert (await server.client.get(f"{server.url}/v2/health/live")).status_code == 200


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_bodies_are_unpacked(server: Running, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    content = pack(json.dumps({"inputs": [ONE]}).encode())
    headers = {"content-encoding": encoding}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    assert answer.json()["outputs"][0]["data"] == [1, 0, 0]


@pytest.mark.parametrize(
    ("encoding", "content", "status", "words"),
    [
        ("br", b"x", 415, "Content-Encoding: found b'br'; allowed: gzip, deflate or none"),
        ("gzip", b"x", 400, "body in gzip"),
        ("gzip", gzip.compress(b"{}")[:-1], 400, "ends too early"),
        ("gzip", gzip.compress(b"{}") * 2, 400, "follow its end"),
        ("deflate", zlib.compress(bytes(2**24)), 400, "more than 100 times"),
    ],
)
async def test_broken_and_lying_encodings_are_refused(
    server: Running, encoding: str, content: bytes, status: int, words: str
) -> None:
    headers = {"content-encoding": encoding}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]


async def test_an_unpacked_body_is_measured(server: Running) -> None:
    # Random text shrinks to three quarters at best, so only its size can be at fault.
    content = gzip.compress(base64.b64encode(random.Random(1).randbytes(49 * 2**20)), 1)
    headers = {"content-encoding": "gzip"}
    answer = await server.client.post(f"{server.url}/v2/models/m/infer", content=content, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/v2/models/m/config", "/v2/models/m/versions/1/config"])
async def test_the_configuration_has_whole_shapes(server: Running, path: str) -> None:
    answer = (await server.client.get(server.url + path)).json()
    assert answer == {
        "name": "m",
        "platform": "onnx_onnxv1",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "output": [
            {"name": "scores", "data_type": "TYPE_FP32", "dims": [-1, 3]},
            {"name": "total", "data_type": "TYPE_FP32", "dims": []},
        ],
    }


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/m/stats", "/v2/models/m/versions/1/stats"])
async def test_statistics_count_what_succeeded_and_what_failed(server: Running, path: str) -> None:
    async def statistics() -> dict[str, Any]:
        (model,) = (await server.client.get(server.url + path)).json()["model_stats"]
        assert (model["name"], model["version"]) == ("m", "1")
        return dict(model)

    before = await statistics()
    await server.infer([1, 0, 0, 0])
    await server.infer([1, 0, 0])
    after = await statistics()
    counted = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
        for name in ("success", "fail", "compute_infer", "queue")
    }
    assert counted == {"success": 1, "fail": 1, "compute_infer": 1, "queue": 0}
    assert after["inference_count"] - before["inference_count"] == 1
    assert after["inference_stats"]["success"]["ns"] >= after["inference_stats"]["compute_infer"]["ns"] > 0
    assert abs(after["last_inference"] / 1000 - time.time()) < 600


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ready":true}'])
async def test_the_index_has_the_one_model(server: Running, content: bytes) -> None:
    answer = await server.client.post(f"{server.url}/v2/repository/index", content=content)
    assert answer.json() == [{"name": "m", "version": "1", "state": "READY", "reason": ""}]


@pytest.mark.parametrize(("is_draining", "state"), [(False, "LOADING"), (True, "UNLOADING")])
async def test_a_model_that_is_not_ready_is_in_the_index_all_the_same(is_draining: bool, state: str) -> None:
    front = Front("m", "0" * 10, deadline_seconds=1, is_draining=is_draining)
    app = ProtocolApp(front, TwinTraffic(front))
    async with asking(app) as client:
        assert (await client.post("/v2/repository/index")).json()[0]["state"] == state
        assert (await client.post("/v2/repository/index", json={"ready": True})).json() == []


async def test_an_index_request_is_checked(server: Running) -> None:
    answer = await server.client.post(f"{server.url}/v2/repository/index", content=b'{"ready":7}')
    assert (answer.status_code, "ready" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_nobody_loads_models(server: Running, verb: str) -> None:
    answer = await server.client.post(f"{server.url}/v2/repository/models/m/{verb}", json={})
    assert (answer.status_code, "started with" in answer.json()["error"]) == (501, True)


async def test_a_model_named_stats_is_a_model_all_the_same() -> None:
    front = Front("stats", "0" * 10, deadline_seconds=1)
    app = ProtocolApp(front, TwinTraffic(front))
    async with asking(app) as client:
        assert (await client.get("/v2/models/stats")).status_code == 503


async def test_a_server_without_model_is_alive_but_not_ready() -> None:
    front = Front("m", "0" * 10, deadline_seconds=1)
    app = ProtocolApp(front, UserTraffic(front, Metrics(0.1, 1)))
    async with asking(app) as client:
        assert (await client.get("/v2/health/live")).status_code == 200
        ready, infer = await client.get("/v2/health/ready"), await client.post("/v2/models/m/infer", json={})
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert (await client.get("/v2/models/m")).status_code == 503
        assert (infer.status_code, infer.headers["retry-after"]) == (503, "1")


async def test_draining_says_not_ready_and_sends_connections_away(server: Running) -> None:
    front = Front("m", "0" * 10, deadline_seconds=1, is_draining=True)
    app = ProtocolApp(front, TwinTraffic(front))
    async with asking(app) as client:
        answer = await client.get("/v2/health/ready")
        assert (answer.status_code, answer.headers["connection"]) == (503, "close")


async def test_a_good_answer_counts_as_a_request_alone(server: Running) -> None:
    before = await server.counts()
    assert (await server.infer([1, 0, 0, 0])).status_code == 200
    counts = await server.counts()
    assert (counts["requests"] - before["requests"], counts["errors"]) == (1, 0)


async def test_mistakes_of_users_are_requests_but_no_errors(server: Running) -> None:
    before = await server.counts()
    assert (await server.infer([1, 0, 0])).status_code == 400
    counts = await server.counts()
    assert (counts["requests"] - before["requests"], counts["errors"]) == (1, 0)


async def test_other_routes_count_nothing(server: Running) -> None:
    before = await server.counts()
    for path in ("/v2", "/v2/models/m", "/nonsense"):
        await server.client.get(server.url + path)
    assert await server.counts() == before


async def test_failures_of_the_model_are_500_and_errors(tmp_path: Path) -> None:
    async with running(models.write(tmp_path, models.classifier()), Failing) as server:
        answer = await server.infer([1, 0, 0, 0])
        assert (answer.status_code, answer.json()) == (500, {"error": "inference failed: kernel exploded"})
        counts = await server.counts()
        assert (counts["requests"], counts["errors"]) == (1, 1)


async def test_a_hung_inference_counts_once_when_its_deadline_passes(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, Hung, deadline_seconds=0.3, latency_budget_seconds=10) as server:
        asked = asyncio.create_task(server.infer([1, 0, 0, 0]))
        counts = await server.counted("errors")
        assert (await asked).status_code == 504
        assert counts == await server.counts()
        assert (counts["requests"], counts["errors"], counts["over_budget"]) == (1, 1, 1)


async def test_slower_than_the_budget_is_counted(tmp_path: Path) -> None:
    async with running(models.write(tmp_path, models.classifier()), latency_budget_seconds=1e-7) as server:
        await server.infer([1, 0, 0, 0])
        counts = await server.counts()
        assert (counts["requests"], counts["errors"], counts["over_budget"]) == (1, 0, 1)


async def test_critical_requests_are_in_no_counter(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, critical_header="X-Critical=true") as server:
        assert (await server.infer([1, 0, 0, 0], headers={"x-critical": "true"})).status_code == 200
        assert (await server.infer([1, 0, 0], headers={"x-critical": "true"})).status_code == 400
        assert (await server.counts("metrics"))["request_duration_seconds_count"] == 0
        await server.infer([1, 0, 0, 0], headers={"x-critical": "false"})
        assert (await server.counts())["requests"] == 1


async def test_twins_are_answered_with_execution_time_and_uncounted(tmp_path: Path) -> None:
    async with running(models.write(tmp_path, models.classifier()), Slow) as server:
        answer = await server.infer([1, 0, 0, 0], server.twin_url)
        assert answer.status_code == 200
        assert 0.5 < float(answer.headers["quanary-execution-seconds"]) < 10
        assert "quanary-execution-seconds" not in (await server.infer([1, 0, 0, 0])).headers
        assert (await server.counts())["requests"] == 1


async def test_only_the_twin_whose_turn_came_hears_that_the_model_is_stuck(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path, Hung, deadline_seconds=2.0) as server:
        answers = await asyncio.gather(*(server.infer([1, 0, 0, 0], server.twin_url) for _ in range(40)))
        statuses = [answer.status_code for answer in answers]
        # One reached the model, some waited in vain for their turn, the rest found no place to wait.
        assert statuses.count(504) >= 1
        assert set(statuses) == {504, 503}
        assert sum("wait already" in answer.text for answer in answers) == 8


async def test_metrics_are_pages_of_their_own_port(server: Running) -> None:
    await server.infer([1, 0, 0, 0])
    assert "bucket" not in (await server.client.get(f"{server.metrics_url}/gates")).text
    page = (await server.client.get(f"{server.metrics_url}/metrics")).text
    assert 'quanary_request_duration_seconds_bucket{le="0.1"}' in page
    assert f'digest="{models.digest_of(Path(server.arguments.model))}"' in page
    assert (await server.client.get(f"{server.metrics_url}/v2")).status_code == 404
    assert (await server.client.post(f"{server.metrics_url}/gates")).status_code == 405
    assert (await server.client.get(f"{server.url}/gates")).status_code == 404


async def test_what_fails_beside_the_answers_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise OSError("nobody expected this")

    monkeypatch.setattr(program, "surround", lambda *parts: [*assembly.surround(*parts), fail()])
    with capture_logs() as logs:
        async with running(models.write(tmp_path, models.classifier())) as server:
            assert (await server.infer([1, 0, 0, 0])).status_code == 200
            errors = [each for each in logs if each["log_level"] == "error"]
    assert [str(each["exc_info"]) for each in errors] == ["nobody expected this"]


async def test_of_twins_only_so_many_wait_those_who_still_send_included(tmp_path: Path) -> None:
    body = json.dumps({"inputs": [ONE]}).encode()
    async with running(models.write(tmp_path, models.classifier()), Hung) as server:
        writers, first = [], b"POST /v2/models/m/infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:5]
        try:
            for _ in range(TWIN_WAITING_LIMIT):
                _, writer = await asyncio.open_connection("127.0.0.1", server.arguments.twin_port)
                writer.write(first)
                writers.append(writer)
            await asyncio.sleep(0.2)
            answer = await server.client.post(f"{server.twin_url}/v2/models/m/infer", content=body)
            assert (answer.status_code, "wait already" in answer.json()["error"]) == (503, True)
        finally:
            for writer in writers:
                writer.close()

        async def is_there_room() -> bool:
            async with asyncio.timeout(20):
                asked = server.client.post(f"{server.twin_url}/v2/models/m/infer", content=b"{")
                return (await asked).status_code == 400

        await until(is_there_room)


async def test_a_model_that_cancels_itself_has_failed_and_holds_nothing(tmp_path: Path) -> None:
    async with running(models.write(tmp_path, models.classifier()), Cancelled) as server:
        for url in (server.url, server.twin_url, server.twin_url):
            answer = await server.infer([1, 0, 0, 0], url)
            assert (answer.status_code, "cancelled" in answer.json()["error"]) == (500, True)
        assert (await server.counts())["errors"] == 1
