"""Three real servers: float, a stable INT8, and a candidate whom float asks what the stable one asks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quanary.server.comparison import comparison
from quanary.server.comparison import twin as twin_module
from quanary.server.engine import Engine, Execution
from quanary.server.tensors import Tensors
from tests.server import models
from tests.server.engines import Failing
from tests.server.running import Running, listening, running, same, until

# Float and the stable one say 0 to both; the candidate, whose third class is favoured, says 2 to the second.
AGREED, DISPUTED = [1.0, 0, 0, 0], [1.0, 0, 0.8, 0]


class Counting:
    """How often a model ran."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, engine: Engine) -> Engine:
        outer = self

        class Counted:
            async def infer(self, inputs: Tensors) -> Execution:
                outer.runs += 1
                return await engine.infer(inputs)

        return Counted()


@dataclass
class Selector:
    """A Service: new connections go to whom it selects now, old ones go on."""

    aim: str = ""
    url: str = ""

    def select(self, server: Running) -> None:
        self.aim = server.twin_url


@asynccontextmanager
async def service() -> AsyncIterator[Selector]:
    selector = Selector()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        aim = urlsplit(selector.aim)
        there, back = await asyncio.open_connection(aim.hostname, aim.port)
        pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in pumps:
            each.cancel()
        back.close()

    async with listening(forward) as url:
        selector.url = url
        yield selector


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)


@dataclass
class Trio:
    float: Running
    stable: Running
    candidate: Running
    selector: Selector
    stable_runs: Counting

    @property
    def label(self) -> str:
        return self.label_of(self.candidate)

    @staticmethod
    def label_of(server: Running) -> str:
        return f"{{{models.digest_of(Path(server.arguments.model))[:10]}}}"


@asynccontextmanager
async def trio(folder: Path, wrap_candidate: type | None = None) -> AsyncIterator[Trio]:
    paths = {
        "float": models.write(folder, models.classifier(), "float.onnx"),
        "stable": models.write(folder, models.classifier((0, 0, 0.1)), "stable.onnx"),
        "candidate": models.write(folder, models.classifier((0, 0, 0.5)), "candidate.onnx"),
    }
    runs = Counting()
    async with (
        service() as selector,
        running(paths["float"], twin_url=selector.url, sample_ratio=1.0, deadline_seconds=1) as server,
        running(paths["stable"], runs, variant="int8", twin_url=server.twin_url, sample_ratio=1.0) as stable,
        running(
            paths["candidate"], wrap_candidate or same, variant="int8", twin_url=server.twin_url, sample_ratio=1.0
        ) as candidate,
    ):
        selector.select(candidate)
        yield Trio(server, stable, candidate, selector, runs)


async def test_a_candidate_is_compared_on_the_stable_one_s_users_though_float_has_none(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        for features in (AGREED, DISPUTED, AGREED):
            await three.stable.infer(features)
        counts = await three.float.counted("compared", 3)
        assert (counts[f"compared{three.label}"], counts[f"mismatched{three.label}"]) == (3, 1)
        assert counts[f"compared_distinct{three.label}"] == 2
        assert (counts["requests"], counts["comparisons_dropped"]) == (0, 0)
        # The stable one counts itself against float; the candidate neither counts nor asks.
        assert (await three.stable.counted("compared", 3))[f"compared{three.label_of(three.float)}"] == 3
        candidate = await three.candidate.counts()
        assert candidate["requests"] == 0
        assert "compared" not in candidate


async def test_an_input_of_float_s_users_and_of_the_stable_one_s_is_distinct_once(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        await three.float.infer(DISPUTED)
        await three.stable.infer(DISPUTED)
        counts = await three.float.counted("compared", 2)
        assert (counts[f"compared{three.label}"], counts[f"compared_distinct{three.label}"]) == (2, 1)


async def test_without_a_candidate_nobody_is_asked_twice(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        three.selector.select(three.stable)
        for value in range(6):
            await three.stable.infer([float(value), 0, 0, 0])
        await three.stable.counted("compared", 6)
        # Float asks its twin for its users alone: after this one everything before was taken.
        await three.float.infer(AGREED)
        counts = await three.float.counted("compared")
        assert counts[f"compared{three.label_of(three.stable)}"] == 1
        assert three.stable_runs.runs == 6 + 1


async def test_a_candidate_that_comes_and_goes_is_noticed_within_a_connection_s_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (comparison, twin_module):
        monkeypatch.setattr(module, "CONNECTION_SECONDS", 0.3)
    async with trio(tmp_path) as three:
        three.selector.select(three.stable)
        await three.stable.infer(AGREED)
        await three.stable.counted("compared")
        three.selector.select(three.candidate)

        async def is_relayed() -> bool:
            await three.stable.infer(AGREED)
            return (await three.float.counts()).get(f"compared{three.label}", 0) > 0

        await until(is_relayed)
        three.selector.select(three.stable)

        async def is_over() -> bool:
            before = (await three.float.counts())["compared"]
            asked = (await three.stable.counts())["compared"]
            for value in range(4):
                await three.stable.infer([float(value), 0, 0, 0])
            await three.stable.counted("compared", asked + 4)
            await asyncio.sleep(0.1)
            return (await three.float.counts())["compared"] == before

        await until(is_over)
        counts = await three.float.counts()
        assert f"compared{three.label_of(three.stable)}" not in counts


async def test_no_answer_of_the_candidate_is_a_mismatch(tmp_path: Path) -> None:
    async with trio(tmp_path, Failing) as three:
        await three.stable.infer(AGREED)
        counts = await three.float.counted("compared")
        assert (counts[f"compared{three.label}"], counts[f"mismatched{three.label}"]) == (1, 1)


async def test_there_are_two_hops_at_most_and_only_float_relays(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        stranger = {"quanary-asker": "0123456789"}
        hops = [{**stranger, "quanary-hops": number} for number in ("0", "2", "3", "x")]
        for headers in (*hops, stranger, {"quanary-hops": "1"}, {"quanary-hops": "1", "quanary-asker": "me"}):
            assert (await three.float.infer(AGREED, three.float.twin_url, headers=headers)).status_code == 200
        asked = {**stranger, "quanary-hops": "1"}
        await three.candidate.infer(AGREED, three.candidate.twin_url, headers=asked)
        await three.float.infer(AGREED, three.float.twin_url, headers=asked)
        counts = await three.float.counted("compared")
        assert (counts["compared"], counts["comparisons_dropped"]) == (1, 0)
        assert "compared" not in await three.candidate.counts()


async def test_users_cannot_hide_behind_the_headers_of_twins(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        for hops in ("1", "2", "9"):
            headers = {"quanary-hops": hops, "quanary-asker": three.label[1:-1]}
            await three.float.infer(DISPUTED, headers=headers)
        counts = await three.float.counted("compared", 3)
        assert (counts["requests"], counts["mismatched"]) == (3, 3)


async def test_a_candidate_s_own_users_are_compared_by_itself_alone(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        await three.candidate.infer(DISPUTED)
        counts = await three.candidate.counted("compared")
        assert counts[f"mismatched{three.label_of(three.float)}"] == 1
        # Questions are taken in turn: one that is relayed comes after all that are not.
        await three.stable.infer(AGREED)
        assert (await three.float.counted("compared"))["compared"] == 1
