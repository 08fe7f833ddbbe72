"""Pairs of real servers that compare their answers."""

import asyncio
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from quanary.server.__main__ import REFUSED, run
from quanary.server.comparison import Comparison, Measure, Sampler, TwinSettings, comparison, pairs
from quanary.server.data_plane import Inference
from quanary.server.engine import Engine, Execution
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.server.rpc import inference_pb2 as pb
from quanary.wire.inference import TensorMetadata
from quanary.wire.launch import ServeArguments
from quanary.wire.metrics import COMPARISONS_DROPPED as DROPPED
from tests.server import models
from tests.server.engines import Failing, Held, Hung, Slow, Wrong
from tests.server.running import Running, free_port, listening, running, until

# Float says 0 to both; INT8, whose third class is favoured, says 2 to the second.
AGREED, DISPUTED = [1.0, 0, 0, 0], [1.0, 0, 0.8, 0]


@pytest.fixture
def float_path(tmp_path: Path) -> Path:
    return models.write(tmp_path, models.classifier(), "float.onnx")


@pytest.fixture
def int8_path(tmp_path: Path) -> Path:
    return models.write(tmp_path, models.classifier((0, 0, 0.5)), "int8.onnx")


def asking(twin: Running, **more: Any) -> dict[str, Any]:
    return {"twin_url": twin.twin_url, "sample_ratio": 1.0, **more}


def short_of(path: Path) -> str:
    return models.digest_of(path)[:10]


@pytest.mark.parametrize("variant", ["float", "int8"])
async def test_either_side_counts_matches_and_mismatches(float_path: Path, int8_path: Path, variant: str) -> None:
    own, other = (float_path, int8_path) if variant == "float" else (int8_path, float_path)
    async with running(other) as twin, running(own, variant=variant, **asking(twin)) as server:
        for features in (AGREED, DISPUTED, AGREED):
            assert (await server.infer(features)).status_code == 200
        counts = await server.counted("compared", 3)
        label = f"{{{short_of(other)}}}"
        assert counts[f"compared{label}"] == 3
        assert counts[f"mismatched{label}"] == 1
        assert counts[f"compared_distinct{label}"] == 2
        assert counts[f"mismatched_distinct{label}"] == 1
        assert counts["comparisons_dropped"] == 0
        # The twin neither counts the question nor asks back.
        assert (await twin.counts())["requests"] == 0


async def test_the_slower_model_is_counted_by_execution_time(float_path: Path, int8_path: Path) -> None:
    async with running(float_path) as twin, running(int8_path, Slow, variant="int8", **asking(twin)) as server:
        await server.infer(AGREED)
        assert (await server.counted("compared"))["slower_than_twin"] == 1
    async with running(float_path, Slow) as twin, running(int8_path, variant="int8", **asking(twin)) as server:
        await server.infer(AGREED)
        assert (await server.counted("compared"))["slower_than_twin"] == 0


async def test_injected_wrong_answers_are_seen_as_the_model_s(float_path: Path, int8_path: Path) -> None:
    async with running(float_path) as twin, running(int8_path, Wrong, variant="int8", **asking(twin)) as server:
        await server.infer(AGREED)
        assert (await server.counted("compared"))["mismatched"] == 1
    async with running(int8_path, Wrong) as twin, running(float_path, **asking(twin)) as server:
        await server.infer(AGREED)
        assert (await server.counted("compared"))["mismatched"] == 1


async def test_failed_and_refused_answers_are_not_compared(float_path: Path, int8_path: Path) -> None:
    async with running(float_path) as twin, running(int8_path, Failing, variant="int8", **asking(twin)) as server:
        assert (await server.infer(AGREED)).status_code == 500
        assert (await server.infer([1.0])).status_code == 400
        counts = await server.counts()
        assert (counts["requests"], counts["comparisons_dropped"]) == (2, 0)
        assert "compared" not in counts


async def test_critical_answers_are_not_compared(float_path: Path, int8_path: Path) -> None:
    async with running(int8_path) as twin, running(float_path, critical_header="x-c=1", **asking(twin)) as server:
        await server.infer(DISPUTED, headers={"x-c": "1"})
        await server.infer(AGREED)
        counts = await server.counted("compared")
        assert (counts["compared"], counts["mismatched"]) == (1, 0)


async def test_users_who_speak_grpc_are_compared_as_well_but_for_critical_ones(
    float_path: Path, int8_path: Path
) -> None:
    port = free_port()
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4])
    contents = [np.array(DISPUTED, np.float32).tobytes()]
    request = pb.ModelInferRequest(model_name="m", inputs=[tensor], raw_input_contents=contents).SerializeToString()
    async with (
        running(int8_path) as twin,
        running(float_path, grpc_port=port, critical_header="x-c=1", **asking(twin)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        await infer(request, metadata=(("x-c", "1"),))
        await infer(request, metadata=(("quanary-hops", "2"),))
        counts = await server.counted("compared")
        assert (counts["compared"], counts["mismatched"], counts["requests"]) == (1, 1, 1)


@pytest.mark.parametrize("wrap", [Failing, Hung])
async def test_no_answer_of_int8_is_a_mismatch(
    float_path: Path, int8_path: Path, wrap: Callable[[Engine], Engine]
) -> None:
    async with (
        running(int8_path, wrap, variant="int8", deadline_seconds=0.3) as twin,
        running(float_path, **asking(twin)) as server,
    ):
        await server.infer(AGREED)
        counts = await server.counted("compared")
        label = f"{{{short_of(int8_path)}}}"
        assert (counts[f"compared{label}"], counts[f"mismatched{label}"]) == (1, 1)
        assert counts["comparisons_dropped"] == 0


async def test_no_answer_of_float_is_dropped(float_path: Path, int8_path: Path) -> None:
    async with running(float_path, Failing) as twin, running(int8_path, variant="int8", **asking(twin)) as server:
        await server.infer(AGREED)
        counts = await server.counted("comparisons_dropped")
        assert "compared" not in counts


async def test_a_refused_connection_means_no_twin_until_there_is_one(float_path: Path, int8_path: Path) -> None:
    port = free_port()
    async with running(float_path, twin_url=f"http://127.0.0.1:{port}", sample_ratio=1.0) as server:
        for _ in range(5):
            assert (await server.infer(AGREED)).status_code == 200
        counts = await server.counts()
        assert counts["comparisons_dropped"] == 0
        assert "compared" not in counts
        async with running(int8_path, variant="int8", twin_port=port):

            async def is_compared() -> bool:
                await server.infer(AGREED)
                return (await server.counts()).get("compared", 0) > 0

            await until(is_compared)
        assert (await server.counts())["errors"] == 0


async def test_another_twin_gets_its_own_label_and_distinct_inputs(
    tmp_path: Path, float_path: Path, int8_path: Path
) -> None:
    port = free_port()
    better = models.write(tmp_path, models.classifier((0, 0, 0.1)), "better.onnx")
    async with running(float_path, twin_url=f"http://127.0.0.1:{port}", sample_ratio=1.0) as server:
        for path in (int8_path, better):
            async with running(path, variant="int8", twin_port=port):

                async def is_compared(label: str = f"compared{{{short_of(path)}}}") -> bool:
                    await server.infer(DISPUTED)
                    return (await server.counts()).get(label, 0) > 0

                await until(is_compared)
        counts = await server.counts()
        assert counts[f"mismatched_distinct{{{short_of(int8_path)}}}"] == 1
        assert counts[f"compared_distinct{{{short_of(better)}}}"] == 1
        assert counts[f"mismatched{{{short_of(better)}}}"] == 0


async def test_the_same_model_is_no_twin(float_path: Path) -> None:
    async with running(float_path) as twin, running(float_path, **asking(twin)) as server:
        for _ in range(3):
            await server.infer(AGREED)
        # A question that is surely answered after the three.
        await twin.infer(AGREED, twin.twin_url)
        counts = await server.counts()
        assert "compared" not in counts
        assert counts["comparisons_dropped"] == 0


async def test_a_stuck_twin_delays_and_fails_no_user(float_path: Path, int8_path: Path) -> None:
    release = asyncio.Event()
    async with (
        running(int8_path, lambda engine: Held(engine, release), variant="int8") as twin,
        running(float_path, **asking(twin)) as server,
    ):
        answers = await asyncio.gather(*(server.infer([float(i), 0, 0, 0]) for i in range(100)))
        assert {answer.status_code for answer in answers} == {200}
        counts = await server.counts()
        assert (counts["requests"], counts["errors"]) == (100, 0)
        # 64 wait, 4 are asked; the others found the queue full.
        assert counts["comparisons_dropped"] >= 30
        release.set()
        await server.counted("compared", 60)


SIGNATURE = Signature((TensorMetadata("x", "FP32", (-1, 4)),), (TensorMetadata("scores", "FP32", (-1, 3)),))
INFERENCE = Inference.of(
    {"x": np.ones((1, 4), np.float32)}, Execution({"scores": np.ones((1, 3), np.float32)}, seconds=0.1)
)


def comparing(url: str, metrics: Metrics) -> Comparison:
    measure = Measure("top1", "scores", 0)
    return Comparison(TwinSettings(url, "m", "float", "f" * 10, 1), SIGNATURE, measure, Sampler(1.0), metrics)


async def counts_after(status: int, headers: dict[str, str], body: bytes = b"{}") -> str:
    """What a float server counts of a twin that answers like this."""
    metrics = Metrics(0.1, 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)

    async with listening(answer) as url:
        asking = comparing(url, metrics)
        task = asyncio.create_task(asking.run())
        asking.see(INFERENCE)

        async def is_counted() -> bool:
            lines = metrics.render_gates().decode().splitlines()
            return any(line.startswith("quanary_comp") and not line.endswith(" 0.0") for line in lines)

        await until(is_counted)
        task.cancel()
    return metrics.render_gates().decode()


DIGEST = {"quanary-digest": "0123456789"}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (503, DIGEST),
        (404, DIGEST),
        (413, DIGEST),
        (500, {}),
        (500, {"quanary-digest": "not a digest"}),
        (200, DIGEST),
        (200, {**DIGEST, "inference-header-content-length": "99"}),
    ],
)
async def test_what_says_nothing_of_the_model_is_dropped(status: int, headers: dict[str, str]) -> None:
    text = await counts_after(status, headers)
    assert "quanary_comparisons_dropped_total 1.0" in text
    assert "quanary_compared_total{" not in text


@pytest.mark.parametrize("status", [400, 500, 504])
async def test_an_error_of_int8_is_a_mismatch_of_the_digest_it_names(status: int) -> None:
    text = await counts_after(status, DIGEST)
    assert 'quanary_mismatched_total{twin="0123456789"} 1.0' in text


async def test_connections_to_the_twin_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "CONNECTION_SECONDS", 0.3)
    monkeypatch.setattr(comparison, "ASKERS", 1)
    metrics, questions = Metrics(0.1, 1), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = 0
        questions.append(0)
        mine = len(questions) - 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            asked += 1
            questions[mine] = asked
            writer.write(b"HTTP/1.1 404 X\r\nquanary-digest: 0123456789\r\ncontent-length: 0\r\n\r\n")

    async with listening(answer) as url:
        asking = comparing(url, metrics)
        task = asyncio.create_task(asking.run())

        async def is_made_anew() -> bool:
            asking.see(INFERENCE)
            return len(questions) >= 3

        await until(is_made_anew)
        task.cancel()
    # Each was kept alive for more than one question, and none for ever.
    assert max(questions) > 1


async def test_queued_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # 16 bytes of inputs and 12 of what was said.
    monkeypatch.setattr(pairs, "QUESTIONS_LIMIT_BYTES", 60)
    metrics = Metrics(0.1, 1)
    asking = comparing("http://127.0.0.1:9", metrics)
    for _ in range(3):
        asking.see(INFERENCE)
    assert "quanary_comparisons_dropped_total 1.0" in metrics.render_gates().decode()


async def test_a_twin_without_capacity_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics, questions = Metrics(0.1, 1), []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            questions.append(time.monotonic())
            await reader.read(2**16)
            writer.write(b"HTTP/1.1 503 X\r\nquanary-digest: 0123456789\r\ncontent-length: 0\r\n\r\n")

    monkeypatch.setattr(comparison, "ASKERS", 1)
    async with listening(refuse) as url:
        asking = comparing(url, metrics)
        task = asyncio.create_task(asking.run())
        offered = 0
        while len(questions) < 4:
            asking.see(INFERENCE)
            offered += 1
            await asyncio.sleep(0.002)
        task.cancel()
    # Of many sampled answers only a few were asked about, the others lost in the pauses between, and counted.
    pauses = [after - before for before, after in pairwise(questions)]
    assert pauses[0] >= 0.05
    assert pauses[2] >= 2 * 0.05
    assert offered > 20
    (line,) = [each for each in metrics.render_gates().decode().splitlines() if each.startswith(f"{DROPPED} ")]
    assert float(line.split()[1]) >= offered - 4


@pytest.mark.parametrize("variant", ["float", "int8"])
async def test_soft_answers_are_compared_by_how_far_they_are_apart(
    float_path: Path, int8_path: Path, variant: str
) -> None:
    own, other = (float_path, int8_path) if variant == "float" else (int8_path, float_path)
    soft: dict[str, Any] = {"divergence": "tolerance", "divergence_limit": 0.25, "divergence_output": "total"}
    async with running(other) as twin, running(own, variant=variant, **asking(twin), **soft) as server:
        # Totals of float and INT8: 10 and 10.5, 1.9 and 2.4. Relative to INT8's 2.4 that would be within 0.25.
        for features in ([10.0, 0, 0, 0], [1.9, 0, 0, 0]):
            await server.infer(features)
        counts = await server.counted("compared", 2)
        assert (counts["compared"], counts["mismatched"]) == (2, 1)
        page = (await server.client.get(f"{server.metrics_url}/metrics")).text
        label = f'le="0.25",twin="{short_of(other)}"'
        assert f"quanary_divergence_bucket{{{label}}} 1.0" in page
        assert f'quanary_twin_execution_duration_seconds_count{{twin="{short_of(other)}"}} 2.0' in page
        assert "quanary_predictions_total{" not in page


async def test_what_cannot_be_compared_is_dropped_not_held_against_int8(tmp_path: Path) -> None:
    vectors = models.write(tmp_path, models.echo("FP32"), "vectors.onnx")
    soft: dict[str, Any] = {"divergence": "cosine", "divergence_limit": 0.1}
    # Another file, the same answers.
    twins = models.write(tmp_path, vectors.read_bytes() + b"\x72\x00", "twins.onnx")
    async with running(twins) as twin, running(vectors, **asking(twin), **soft) as server:
        for data in ([1.0], [1.0, 2.0]):
            tensor = {"name": "x", "shape": [len(data)], "datatype": "FP32", "data": data}
            await server.client.post(f"{server.url}/v2/models/m/infer", json={"inputs": [tensor]})
        counts = await server.counted("compared")
        assert (counts["compared"], counts["mismatched"], counts["comparisons_dropped"]) == (1, 0, 1)


async def test_what_users_get_is_compared_not_what_int8_would_have_said(float_path: Path, int8_path: Path) -> None:
    metrics = Metrics(0.1, 1)
    own, given = np.array([[1, 0, 1.3]], np.float32), np.array([[1, 0, 0.8]], np.float32)
    inputs = {"x": np.array([DISPUTED], np.float32)}
    escalated = Inference(inputs, {"scores": own}, {"scores": given}, 0.1)
    async with running(float_path) as twin:
        twins = TwinSettings(twin.twin_url, "m", "int8", "a" * 10, 1)
        asking = Comparison(twins, SIGNATURE, Measure("top1", "scores", 0), Sampler(1.0), metrics)
        task = asyncio.create_task(asking.run())
        for inference in (escalated, Inference.of(inputs, Execution({"scores": own}, 0.1))):
            asking.see(inference)

        async def are_counted() -> bool:
            return f'quanary_compared_total{{twin="{short_of(float_path)}"}} 2.0' in metrics.render_gates().decode()

        await until(are_counted)
        task.cancel()
    page, label = metrics.render_all().decode(), f'{{twin="{short_of(float_path)}"}}'
    assert f"quanary_mismatched_total{label} 1.0" in page
    assert f"quanary_mismatched_before_escalation_total{label} 2.0" in page


async def test_what_int8_would_have_escalated_counts_as_float_s_answer() -> None:
    body = b'{"model_name":"m","outputs":[{"name":"scores","shape":[1,3],"datatype":"FP32","data":[0,0,9]}]}'
    headers = {**DIGEST, "quanary-execution-seconds": "0.1"}
    for more, mismatched in (({}, 1), ({"quanary-escalated": "review"}, 1), ({"quanary-escalated": "float"}, 0)):
        text = await counts_after(200, {**headers, **more}, body)
        assert f'quanary_mismatched_total{{twin="0123456789"}} {mismatched}.0' in text


@pytest.mark.parametrize("budget", [1.0, 0.0])
async def test_in_shadow_too_what_would_be_escalated_is_no_mismatch_within_the_budget(
    float_path: Path, int8_path: Path, budget: float
) -> None:
    # Of the disputed input INT8 is 0.46 sure.
    unsure: dict[str, Any] = {
        "variant": "int8",
        "escalate_below": 0.5,
        "escalation_budget": budget,
        "sample_ratio": 1.0,
    }
    async with (
        running(float_path) as other,
        running(int8_path, twin_url=other.twin_url, **unsure) as twin,
        running(float_path, **asking(twin)) as server,
    ):
        for tenth in range(10):
            await server.infer([1.0, 0, 0.8, tenth / 10])
        counts = await server.counted("compared", 10)
    # Without a budget only the first few of a minute are escalated.
    assert (counts["compared"], counts["mismatched"]) == (10, 0 if budget else 7)


def test_what_the_model_cannot_be_compared_by_is_refused_at_start_for_the_controller(
    tmp_path: Path, float_path: Path
) -> None:
    log = tmp_path / "termination-log"
    arguments = ServeArguments(
        model=str(float_path),
        name="m",
        http_port=free_port(),
        metrics_port=free_port(),
        divergence="cosine",
        divergence_limit=0.1,
        divergence_output="total",
        termination_log=str(log),
    )
    assert run(arguments) == REFUSED
    refusal = json.loads(log.read_text())["refusal"]
    assert refusal["field"] == "spec.gates.divergence.output (--divergence-output)"
    assert "FP32[]" in refusal["found"]
    assert "at least 2 values" in refusal["allowed"]
