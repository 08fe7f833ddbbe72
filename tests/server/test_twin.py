"""Pairs of real servers that compare their answers."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quanary.server import twin as twin_module
from quanary.server.comparison import Sampler
from quanary.server.data_plane import Inference
from quanary.server.engine import Engine, Execution
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.server.twin import Comparison, TwinSettings
from quanary.wire.inference import TensorMetadata
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


async def counts_after(status: int, headers: dict[str, str]) -> str:
    """What a float server counts of a twin that answers like this."""
    metrics = Metrics(0.1, 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())

    async with listening(answer) as url:
        comparison = Comparison(TwinSettings(url, "m", "float", "f" * 10, 1), SIGNATURE, Sampler(1.0), metrics)
        task = asyncio.create_task(comparison.run())
        comparison.see(INFERENCE)

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
    monkeypatch.setattr(twin_module, "CONNECTION_SECONDS", 0.3)
    monkeypatch.setattr(twin_module, "ASKERS", 1)
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
            writer.write(b"HTTP/1.1 503 X\r\nquanary-digest: 0123456789\r\ncontent-length: 0\r\n\r\n")

    async with listening(answer) as url:
        comparison = Comparison(TwinSettings(url, "m", "float", "f" * 10, 1), SIGNATURE, Sampler(1.0), metrics)
        task = asyncio.create_task(comparison.run())

        async def is_made_anew() -> bool:
            comparison.see(INFERENCE)
            return len(questions) >= 3

        await until(is_made_anew)
        task.cancel()
    # Each was kept alive for more than one question, and none for ever.
    assert max(questions) > 1


async def test_queued_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twin_module, "QUEUE_BYTES_LIMIT", 40)
    metrics = Metrics(0.1, 1)
    settings = TwinSettings("http://127.0.0.1:9", "m", "float", "f" * 10, 1)
    comparison = Comparison(settings, SIGNATURE, Sampler(1.0), metrics)
    for _ in range(3):
        comparison.see(INFERENCE)
    assert "quanary_comparisons_dropped_total 1.0" in metrics.render_gates().decode()
