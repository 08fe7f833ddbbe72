"""INT8 and float servers: who answers what INT8 is unsure of, and what is critical."""

import asyncio
import contextlib
import json
import signal
import sys
import threading
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quanary.server.engine import Engine, Execution
from quanary.server.escalation import BURST, Budget, Doubt, confidence_of
from quanary.server.escalation import policy as policy_module
from quanary.server.escalation.confidence import largest_probability, least, margin
from quanary.server.messages import Signature
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.settings import Settings
from quanary.server.tensors import Tensors
from quanary.wire.inference import TensorMetadata
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError
from tests.server import models
from tests.server.engines import Failing, Hung
from tests.server.running import Running, free_port, listening, running, until

# INT8, whose third class is favoured, says 2 to what float says 0 to, and is sure of neither.
SURE, UNSURE = [9.0, 0, 0, 0], [0.4, 0, 0.3, 0]
ESCALATED, DIGEST = "quanary-escalated", "quanary-digest"
CRITICAL = {"x-critical": "true"}
MARKS = ("true", "false, true", "true,false", "true,true")
TWICE = (("x-critical", "no"), ("x-critical", "true"))


@pytest.fixture
def float_path(tmp_path: Path) -> Path:
    return models.write(tmp_path, models.classifier(), "float.onnx")


@pytest.fixture
def int8_path(tmp_path: Path) -> Path:
    return models.write(tmp_path, models.classifier((0, 0, 0.5)), "int8.onnx")


def short_of(path: Path) -> str:
    return models.digest_of(path)[:10]


def escalating(twin_url: str, **more: Any) -> dict[str, Any]:
    return {"variant": "int8", "twin_url": twin_url, "escalate_below": 0.6, "escalation_budget": 1.0, **more}


def scores(answer: httpx.Response) -> list[float]:
    output = next(each for each in answer.json()["outputs"] if each["name"] == "scores")
    return [round(value, 3) for value in output["data"]]


async def refusals(server: Running) -> dict[str, float]:
    """Escalations refused, by reason."""
    text = (await server.client.get(f"{server.metrics_url}/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    return {each.labels["reason"]: each.value for each in families["quanary_escalation_refusals"].samples}


class TestConfidence:
    @pytest.mark.parametrize(
        ("rows", "softmax", "gap"),
        [
            ([[0.0, 0.0]], 0.5, 0.0),
            ([[np.log(3), 0.0]], 0.75, 0.5),
            ([[1000.0, 0.0]], 1.0, 1.0),  # no overflow
            ([[0.7, 0.2, 0.1]], 0.7, 0.5),  # probabilities already
            ([[0.9, 0.1], [0.6, 0.4], [1.0, 0.0]], 0.6, 0.2),  # the least sure row
            ([[[0.9, 0.1], [0.55, 0.45]]], 0.55, 0.1),  # of any rank
            ([[0.2]], 0.8, 0.6),  # one score: no is as good an answer as yes
            ([[-np.log(3)]], 0.75, 0.5),
            ([0.9, 0.1], 0.9, 0.8),
            ([[np.nan, 1.0]], 0.0, 0.0),
            ([[np.inf, 1.0]], 0.0, 0.0),
        ],
    )
    def test_softmax_and_margin(self, rows: list[Any], softmax: float, gap: float) -> None:
        array = np.array(rows, np.float32)
        assert largest_probability(array) == pytest.approx(softmax, abs=1e-6)
        assert margin(array) == pytest.approx(gap, abs=1e-6)

    def test_probabilities_of_many_classes_that_int8_rounded_are_no_logits(self) -> None:
        exact = np.full((1, 1000), 0.3 / 999)
        exact[0, 7] = 0.7
        rounded = np.round(exact * 255) / 255  # all but one of them are 0 now
        assert largest_probability(rounded) == pytest.approx(0.7, abs=0.01)

    def test_no_rows_are_nothing_to_be_unsure_of(self) -> None:
        for shape in ((0, 3), (2, 0), (0,)):
            assert largest_probability(np.zeros(shape, np.float32)) == 1
            assert margin(np.zeros(shape, np.float32)) == 1
            assert least(np.zeros(shape, np.float32)) == 1

    def test_an_output_says_it_itself(self) -> None:
        signature = Signature((), (TensorMetadata("y", "INT64", (-1,)), TensorMetadata("sure", "FP16", (-1,))))
        confidence = confidence_of("output", "sure", signature)
        assert confidence({"y": np.array([1, 2]), "sure": np.array([0.5, 0.25], np.float16)}) == 0.25

    @pytest.mark.parametrize(
        ("measure", "output", "found"),
        [
            ("softmax", "z", "'z'"),
            ("softmax", "", "'label' of datatype INT64"),
            ("margin", "label", "'label' of datatype INT64"),
            ("output", "text", "'text' of datatype BYTES"),
        ],
    )
    def test_outputs_that_say_nothing_of_it_are_refused(self, measure: str, output: str, found: str) -> None:
        outputs = (TensorMetadata("label", "INT64", (-1,)), TensorMetadata("text", "BYTES", (-1,)))
        with pytest.raises(RefusedError, match=r"spec\.escalation\.output: found") as caught:
            confidence_of(measure, output, Signature((), outputs))
        assert caught.value.refusal.found == found


class TestBudget:
    def test_no_minute_has_more_than_the_share_and_the_burst(self) -> None:
        now = 0.0
        budget = Budget(0.1, lambda: now)
        times = []
        for step in range(3000):
            now = step * 0.1
            budget.count_request()
            if budget.spend():
                times.append(now)
        most = max(sum(start <= each < start + 60 for each in times) for start in range(240))
        assert most <= 0.1 * 600 + BURST + 1
        assert len(times) >= 0.1 * 3000

    def test_an_unused_share_lasts_a_minute(self) -> None:
        now = 0.0
        budget = Budget(0.1, lambda: now)
        for _ in range(100):
            budget.count_request()
        assert [budget.spend() for _ in range(14)].count(True) == 10 + BURST
        now = 61.0
        budget.count_request()
        assert [budget.spend() for _ in range(4)].count(True) == BURST


@pytest.mark.parametrize(("ratio", "escalated"), [(1.0, 3), (0.2, 0)])
async def test_shadow_forgives_no_more_than_users_would_be_spared(
    float_path: Path, int8_path: Path, ratio: float, escalated: int
) -> None:
    """A burst is of all requests: of the sample that twins ask it is a share."""
    given = escalating("http://127.0.0.1:1", escalation_budget=0.01, sample_ratio=ratio)
    async with running(int8_path, **given) as server:
        answers = [await server.infer(UNSURE, server.twin_url) for _ in range(6)]
        assert [ESCALATED in each.headers for each in answers].count(True) == escalated


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"escalate_below": 1.5}, "--escalate-below: found 1.5; allowed: 0 to 1"),
        ({"escalate_below": float("nan")}, "--escalate-below"),
        ({"escalate_by": "entropy"}, "--escalate-by: found 'entropy'; allowed: softmax, margin, output"),
        ({"escalate_by": "output"}, "--escalate-output"),
        ({"escalate_to": "cloud"}, "--escalate-to"),
        ({"escalation_budget": -0.1}, "--escalation-budget"),
        ({"variant": "float"}, "--escalate-below: found 0.6; allowed: 0 for a float model"),
        ({"twin_url": ""}, "--twin-url"),
        ({"escalate_to": "review", "review_spool": "/spool"}, "--review-sink: found ''"),
        ({"escalate_to": "review", "review_sink": "http://x"}, "--review-spool: found ''"),
        *(
            ({"review_sink": url}, "--review-sink")
            for url in (
                "ftp://x",
                "http://",
                "http://a@x",
                "http://x/a b",
                "http://x:0",
                "http://x:port",
                "//x",
                "http://ä",
            )
        ),
        ({"critical_path": "/vital"}, "--critical-path: found '/vital'; allowed: one beside --critical-header"),
        ({"critical_path": "vital", "critical_header": "a=b"}, "--critical-path"),
        ({"critical_path": "/../x", "critical_header": "a=b"}, "--critical-path"),
        ({"critical_path": "/v2", "critical_header": "a=b"}, "--critical-path"),
        ({"critical_path": "/v2/models", "critical_header": "a=b"}, "--critical-path"),
    ],
)
def test_nonsense_is_refused_by_flag(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings.of(ServeArguments("m.onnx", "m", **{**escalating("http://x:1"), **given}))


def test_what_makes_sense_is_taken() -> None:
    review: dict[str, Any] = {"escalate_to": "review", "review_sink": "https://x:8443/a?b=c", "review_spool": "/spool"}
    for more in ({}, review):
        Settings.of(ServeArguments("m.onnx", "m", **escalating("http://x:1", **more)))


async def test_float_answers_what_int8_is_unsure_of(float_path: Path, int8_path: Path) -> None:
    async with running(float_path) as twin, running(int8_path, **escalating(twin.twin_url)) as server:
        unsure, sure = await server.infer(UNSURE), await server.infer(SURE)
        assert (unsure.headers[ESCALATED], unsure.headers[DIGEST]) == ("float", short_of(float_path))
        assert scores(unsure) == [0.4, 0, 0.3]
        # Every output is float's: the sum of the scores, too.
        assert next(each["data"] for each in unsure.json()["outputs"] if each["name"] == "total") == [
            pytest.approx(0.7, abs=1e-6)
        ]
        assert (sure.headers.get(ESCALATED), sure.headers[DIGEST]) == (None, short_of(int8_path))
        assert scores(sure) == [9, 0, 0.5]
        counts = await server.counts()
        assert (counts["requests"], counts["escalated"], counts["escalations_refused"]) == (2, 1, 0)
        assert (counts["errors"], (await twin.counts())["requests"]) == (0, 0)
        assert (await server.counts("metrics"))["request_duration_seconds_count"] == 2


async def test_other_measures_of_confidence_decide(float_path: Path, int8_path: Path) -> None:
    async with running(float_path) as twin:
        for more, features in (
            ({"escalate_by": "margin", "escalate_below": 0.9}, [2.0, 0, 0, 0]),
            ({"escalate_by": "output", "escalate_output": "total", "escalate_below": 1.0}, [0.1, 0, 0.1, 0]),
        ):
            async with running(int8_path, **escalating(twin.twin_url, **more)) as server:
                assert (await server.infer(features)).headers[ESCALATED] == "float"
                assert ESCALATED not in (await server.infer(SURE)).headers


async def test_the_budget_keeps_drift_from_float(float_path: Path, int8_path: Path) -> None:
    async with (
        running(float_path) as twin,
        running(int8_path, **escalating(twin.twin_url, escalation_budget=0.1)) as server,
    ):
        answers = [await server.infer(UNSURE) for _ in range(40)]
        by_float = sum(ESCALATED in each.headers for each in answers)
        assert BURST < by_float <= 0.1 * 40 + BURST
        assert {each.status_code for each in answers} == {200}
        assert {each.headers[DIGEST] for each in answers if ESCALATED not in each.headers} == {short_of(int8_path)}
        counts = await server.counts()
        assert (counts["escalated"], counts["escalations_refused"]) == (by_float, 40 - by_float)
        assert await refusals(server) == {"budget": 40 - by_float}


async def test_without_float_int8_answers_until_it_is_back(
    float_path: Path, int8_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_module, "PAUSE_SECONDS", 0.05)
    port = free_port()
    async with running(int8_path, **escalating(f"http://127.0.0.1:{port}")) as server:

        async def is_escalated() -> bool:
            answer = await server.infer(UNSURE)
            assert answer.status_code == 200
            return ESCALATED in answer.headers

        for _ in range(2):
            assert not await is_escalated()
            async with running(float_path, twin_port=port):
                await until(is_escalated)
                assert await is_escalated()
        counts = await server.counts()
        assert counts["errors"] == 0
        assert (await refusals(server))["absent"] == counts["escalations_refused"]


async def test_a_float_that_is_too_slow_costs_no_answer(float_path: Path, int8_path: Path) -> None:
    async with (
        running(float_path, Hung, deadline_seconds=1.0) as twin,
        running(int8_path, **escalating(twin.twin_url, deadline_seconds=1.0)) as server,
    ):
        first, second = await server.infer(UNSURE), await server.infer(UNSURE)
        assert [each.status_code for each in (first, second)] == [200, 200]
        assert scores(first) == [0.4, 0, 0.8]
        counts = await server.counts()
        assert (counts["errors"], counts["escalations_refused"]) == (0, 2)
        # The second did not wait: float was known to be stuck.
        assert await refusals(server) == {"late": 1, "absent": 1}


FLOAT = {DIGEST: "0123456789", "inference-header-content-length": ""}


def answer_of(outputs: list[dict[str, Any]]) -> bytes:
    return json.dumps({"model_name": "m", "outputs": outputs}).encode()


GOOD = [
    {"name": "scores", "shape": [1, 3], "datatype": "FP32", "data": [0.4, 0, 0.3]},
    {"name": "total", "shape": [], "datatype": "FP32", "data": [0.7]},
]


@pytest.mark.parametrize(
    ("status", "digest", "body", "reason"),
    [
        (200, "0123456789", answer_of(GOOD), ""),
        (503, "0123456789", b"{}", "overloaded"),
        (404, "0123456789", b"{}", "failed"),
        (500, "0123456789", b"{}", "failed"),
        (200, "own", answer_of(GOOD), "failed"),
        (200, "no digest", answer_of(GOOD), "failed"),
        (200, "0123456789", b"{", "failed"),
        (200, "0123456789", answer_of(GOOD[:1]), "failed"),
        (200, "0123456789", answer_of([{**GOOD[0], "shape": [3]}, GOOD[1]]), "failed"),
        (200, "0123456789", answer_of([{**GOOD[0], "datatype": "FP64"}, GOOD[1]]), "failed"),
    ],
)
async def test_only_an_answer_of_float_to_this_model_s_question_is_given(
    int8_path: Path, status: int, digest: str, body: bytes, reason: str
) -> None:
    digest = short_of(int8_path) if digest == "own" else digest

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\n{DIGEST}: {digest}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.read(4096)

    async with listening(answer) as url, running(int8_path, **escalating(url)) as server:
        got = await server.infer(UNSURE)
        assert got.status_code == 200
        assert scores(got) == ([0.4, 0, 0.8] if reason else [0.4, 0, 0.3])
        assert await refusals(server) == ({reason: 1} if reason else {})


async def test_a_kept_connection_that_ended_is_not_float_s_fault(float_path: Path, int8_path: Path) -> None:
    port = free_port()
    async with running(int8_path, **escalating(f"http://127.0.0.1:{port}")) as server:
        for _ in range(3):
            async with running(float_path, twin_port=port):
                answers = await asyncio.gather(*(server.infer(UNSURE) for _ in range(8)))
                assert {each.headers.get(ESCALATED) for each in answers} == {"float"}


async def test_an_escalated_answer_agrees_with_float_s(float_path: Path, int8_path: Path) -> None:
    """The comparison counts what the policy gives; what INT8 said itself has a count of its own."""
    async with (
        running(float_path) as twin,
        running(int8_path, **escalating(twin.twin_url, sample_ratio=1.0)) as server,
    ):
        assert (await server.infer(UNSURE)).headers[ESCALATED] == "float"
        counts = await server.counted("compared")
        assert (counts["compared"], counts["mismatched"]) == (1, 0)
        assert (await server.counts("metrics"))["mismatched_before_escalation"] == 1


async def test_the_same_over_grpc(float_path: Path, int8_path: Path) -> None:
    port = free_port()
    given = {"grpc_port": port, "critical_header": "x-critical=true"}
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    async with (
        running(float_path) as twin,
        running(int8_path, **escalating(twin.twin_url, **given)),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for features, metadata, digest in (
            (SURE, (), short_of(int8_path)),
            (UNSURE, (), short_of(float_path)),
            (SURE, (("x-critical", "true"),), short_of(float_path)),
        ):
            content = np.array(features, np.float32).tobytes()
            request = pb.ModelInferRequest(model_name="m", inputs=[tensor], raw_input_contents=[content])
            call = infer(request.SerializeToString(), metadata=metadata)
            answer = pb.ModelInferResponse.FromString(await call)
            trailing = dict(await call.trailing_metadata() or ())
            assert trailing[DIGEST] == digest
            assert (ESCALATED in trailing) == (digest == short_of(float_path))
            given_scores = np.frombuffer(answer.raw_output_contents[0], np.float32)
            assert given_scores[2] == pytest.approx(features[2] + (0.5 if digest == short_of(int8_path) else 0))


class HeldOn:
    """Waits for the test's leave to answer one question."""

    def __init__(self, engine: Engine, feature: float, release: asyncio.Event) -> None:
        self.engine = engine
        self.feature = feature
        self.release = release

    async def infer(self, inputs: Tensors) -> Execution:
        if inputs["x"][0, 0] == self.feature:
            await self.release.wait()
        return await self.engine.infer(inputs)


async def test_comparisons_do_not_starve_escalations(float_path: Path, int8_path: Path) -> None:
    release = asyncio.Event()
    async with (
        running(float_path, lambda engine: HeldOn(engine, 7.0, release)) as twin,
        running(int8_path, **escalating(twin.twin_url)) as server,
    ):
        stuck = asyncio.create_task(twin.infer([7.0, 0, 0, 0], twin.twin_url))
        waiting = [asyncio.create_task(twin.infer(SURE, twin.twin_url)) for _ in range(31)]
        await until(lambda: is_refused(twin))
        answers = await asyncio.gather(*(server.infer(UNSURE) for _ in range(20)))
        assert {each.headers.get(ESCALATED) for each in answers} == {"float"}
        assert not stuck.done()
        release.set()
        await asyncio.gather(stuck, *waiting)


async def is_refused(twin: Running) -> bool:
    """Whether the comparisons' queue of that server is full."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            return (await twin.infer(SURE, twin.twin_url)).status_code == 503
    return False


async def test_an_output_without_confidence_is_refused_at_the_start(float_path: Path, int8_path: Path) -> None:
    given = escalating("http://127.0.0.1:9", escalate_output="nothing")
    with pytest.raises((RefusedError, AssertionError), match=r"spec\.escalation\.output: found 'nothing'"):
        async with running(int8_path, **given):
            pass


class TestCritical:
    async def test_int8_lets_float_answer(self, float_path: Path, int8_path: Path) -> None:
        """However sure INT8 would be, and whatever the budget."""
        more = {"critical_header": "x-critical=true", "critical_path": "/vital", "escalation_budget": 0.0}
        async with (
            running(float_path) as twin,
            running(int8_path, Failing, **escalating(twin.twin_url, **more)) as int8,
        ):
            answers = [await int8.infer(SURE, headers={"x-critical": each}) for each in MARKS]
            answers.append(await int8.infer(SURE, headers=[*TWICE]))
            answers.append(await int8.infer(SURE, f"{int8.url}/vital"))
            assert {each.status_code for each in answers} == {200}
            assert {each.headers[DIGEST] for each in answers} == {short_of(float_path)}
            assert {each.headers[ESCALATED] for each in answers} == {"float"}
            assert (await int8.infer(SURE)).status_code == 500
            counts = await int8.counts()
            assert (counts["requests"], counts["escalated"]) == (1, 0)

    @pytest.mark.parametrize("twin_url", ["", "http://127.0.0.1:9"])
    async def test_without_float_nobody_answers(self, int8_path: Path, twin_url: str) -> None:
        given: dict[str, Any] = {"variant": "int8", "twin_url": twin_url, "critical_header": "x-critical=true"}
        async with running(int8_path, **given) as server:
            answer = await server.infer(SURE, headers=CRITICAL)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "only float may answer" in answer.json()["error"]
            assert (await server.counts())["requests"] == 0

    async def test_the_path_serves_at_float_too(self, float_path: Path) -> None:
        async with running(float_path, critical_header="x-critical=true", critical_path="/vital") as server:
            assert (await server.infer(SURE, f"{server.url}/vital")).status_code == 200
            assert (await server.infer(SURE, f"{server.url}/vitality")).status_code == 404
            assert (await server.counts())["requests"] == 0
            await server.infer(SURE)
            assert (await server.counts())["requests"] == 1

    async def test_they_are_not_turned_away_for_unsure_ones(self, float_path: Path, int8_path: Path) -> None:
        """A full lane of escalations at float."""
        release = asyncio.Event()
        async with running(float_path, lambda engine: HeldOn(engine, UNSURE[0], release)) as twin:
            body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": UNSURE}]}
            url = f"{twin.twin_url}/v2/models/m/infer"

            def ask() -> Coroutine[Any, Any, httpx.Response]:
                return twin.client.post(url, json=body, headers={"quanary-escalation": "unsure"})

            held = [asyncio.create_task(ask()) for _ in range(32)]

            async def is_full() -> bool:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        return bool((await ask()).status_code == 503)
                return False

            await until(is_full)
            given: dict[str, Any] = {"variant": "int8", "twin_url": twin.twin_url, "critical_header": "x-critical=true"}
            async with running(int8_path, **given) as server:
                assert (await server.infer(SURE, headers=CRITICAL)).status_code == 200
            release.set()
            await asyncio.gather(*held)


@dataclass
class Served:
    """A server in a process of its own, which may be killed."""

    words: list[str]
    url: str
    process: Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quanary.server", *self.words, stdout=DEVNULL, stderr=DEVNULL
        )

    async def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        await self.process.wait()

    async def is_ready(self, client: httpx.AsyncClient) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return (await client.get(f"{self.url}/v2/health/ready")).status_code == 200
        return False


def served(path: Path, **given: Any) -> Served:
    arguments = ServeArguments(str(path), "m", critical_header="x-critical=true", max_batch=1, **given)
    return Served(arguments.render(), f"http://127.0.0.1:{arguments.http_port}")


@dataclass
class Load:
    """Requests, and what became of them: by status, and by the digest that answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    digests: Counter[str] = field(default_factory=Counter)

    async def run(self, client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> None:
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": SURE}
        while True:
            # The servers need this machine to start again.
            await asyncio.sleep(0.01)
            try:
                answer = await client.post(f"{url}/v2/models/m/infer", json={"inputs": [tensor]}, headers=headers)
            except httpx.TransportError:
                # A killed process answers nobody; a gateway would ask another one.
                self.statuses[0] += 1
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                self.digests[answer.headers[DIGEST]] += 1


async def test_no_critical_request_is_answered_by_int8_whatever_restarts(float_path: Path, int8_path: Path) -> None:
    ports = [free_port() for _ in range(5)]
    float_server = served(float_path, http_port=ports[0], twin_port=ports[1], metrics_port=ports[2])
    twin_url = f"http://127.0.0.1:{ports[1]}"
    int8_server = served(int8_path, http_port=ports[3], metrics_port=ports[4], variant="int8", twin_url=twin_url)
    critical, others = Load(), Load()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client, asyncio.TaskGroup() as group:
        for each in (float_server, int8_server):
            await each.start()
            await until(partial(each.is_ready, client), 60)
        # Half of the critical ones come where a gateway would never send them.
        loads = [
            group.create_task(load.run(client, server.url, headers))
            for load, server, headers in (
                (critical, int8_server, CRITICAL),
                (critical, int8_server, CRITICAL),
                (critical, float_server, CRITICAL),
                (others, int8_server, {}),
            )
        ]
        for server, how in (
            (float_server, signal.SIGKILL),
            (int8_server, signal.SIGKILL),
            (float_server, signal.SIGTERM),
            (int8_server, signal.SIGTERM),
        ):
            await asyncio.sleep(0.3)
            await server.end(how)
            await asyncio.sleep(0.3)
            await server.start()
            await until(partial(server.is_ready, client), 60)
        await asyncio.sleep(0.3)
        for task in loads:
            task.cancel()
        for server in (float_server, int8_server):
            await server.end(signal.SIGKILL)
    assert set(critical.digests) == {short_of(float_path)}
    assert set(others.digests) == {short_of(int8_path)}
    # While float was away they were asked to come again.
    assert set(critical.statuses) <= {0, 200, 503}
    assert min(critical.statuses[503], critical.statuses[200], others.statuses[200]) > 10


async def test_the_confidence_of_much_delays_nobody_else() -> None:
    """A segmentation's answer takes tens of milliseconds; meanwhile the event loop goes on."""
    went_on = threading.Event()

    def confidence(outputs: Tensors) -> float:
        assert went_on.wait(20), "the event loop stood still"
        return float(outputs["scores"].max())

    async def go_on() -> None:
        went_on.set()

    doubt = Doubt(confidence, 0.5, Budget(1.0, lambda: 0.0))
    arises, _ = await asyncio.gather(doubt.arises({"scores": np.zeros((2**17, 1), np.float32)}), go_on())
    assert arises
