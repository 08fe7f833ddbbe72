"""Answers of a twin that are judged some together: none is lost, none waits long."""

import numpy as np
import pytest
from prometheus_client import generate_latest

from quanary.server.client import Response
from quanary.server.comparison import Measure, Sampler
from quanary.server.comparison.pairs import Pair
from quanary.server.comparison.tally import LARGE_BYTES, TOGETHER, TOGETHER_BYTES, Tally
from quanary.server.metrics import Metrics

TWIN = "0123456789"


def answer(data: str = "[0,0,9]", padding: int = 0) -> Response:
    body = f'{{"model_name":"m","outputs":[{{"name":"scores","shape":[1,3],"datatype":"FP32","data":{data}}}]}}'
    return Response(200, {"quanary-execution-seconds": "0.1"}, body.encode() + b" " * padding)


def pair(key: int) -> Pair:
    return Pair(key, np.array([[0, 0, 1]], np.float32), None, 0.2)


def counted(metrics: Metrics, name: str) -> float:
    lines = [each for each in metrics.render_gates().decode().splitlines() if each.startswith(f"quanary_{name}_total")]
    return sum(float(each.split()[-1]) for each in lines)


def tallying(metrics: Metrics) -> Tally:
    return Tally(Measure("top1", "scores", 0), "float", Sampler(1.0), metrics)


async def test_so_many_are_counted_together() -> None:
    metrics = Metrics(0.1, 1)
    together = tallying(metrics)
    for key in range(TOGETHER - 1):
        await together.add(pair(key % 3), TWIN, answer())
    assert "compared_total{" not in generate_latest(metrics.gates).decode()
    await together.add(pair(0), TWIN, answer())
    assert f'compared_total{{twin="{TWIN}"}} {TOGETHER}.0' in generate_latest(metrics.gates).decode()
    assert counted(metrics, "compared_distinct") == 3


async def test_few_are_counted_when_somebody_looks() -> None:
    metrics = Metrics(0.1, 1)
    together = tallying(metrics)
    for expected in (1, 2):
        await together.add(pair(expected), TWIN, answer())
        assert counted(metrics, "compared") == expected
    assert counted(metrics, "mismatched") == 0


@pytest.mark.parametrize("size", [TOGETHER_BYTES, LARGE_BYTES])
async def test_large_ones_do_not_wait(size: int) -> None:
    metrics = Metrics(0.1, 1)
    together = tallying(metrics)
    for expected in (1, 2):
        await together.add(pair(1), TWIN, answer(padding=size))
        assert f'compared_total{{twin="{TWIN}"}} {expected}.0' in generate_latest(metrics.gates).decode()


async def test_one_that_cannot_be_judged_is_dropped_and_takes_no_other_with_it() -> None:
    metrics = Metrics(0.1, 1)
    together = tallying(metrics)
    for each in (answer(), Response(200, {}, b""), answer("[1]"), answer("[9,0,0]")):
        await together.add(pair(1), TWIN, each)
    together.settle()
    assert [counted(metrics, name) for name in ("compared", "mismatched", "comparisons_dropped")] == [2, 1, 2]
    together.settle()
    assert counted(metrics, "compared") == 2
