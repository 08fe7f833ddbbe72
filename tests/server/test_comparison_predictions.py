"""What users are told, by class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quanary.server.comparison import Measure, Predictions
from quanary.server.comparison.divergence import Array
from quanary.server.comparison.predictions import VALUES_LIMIT
from quanary.server.data_plane import Inference
from quanary.server.engine import Execution
from quanary.server.metrics import Metrics
from tests.server import models
from tests.server.running import Running, running

TOP1 = Measure("top1", "y", 0)


def counted(*outputs: Array) -> dict[str, float]:
    metrics = Metrics(0.1, 1)
    watch = Predictions(TOP1, metrics)
    for each in outputs:
        watch.see(Inference.of({}, Execution({"y": each}, 0.1)))
    return classes(metrics.render_all().decode())


def classes(page: str) -> dict[str, float]:
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return {each.labels["class"]: each.value for each in samples if each.name == "quanary_predictions_total"}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), {"1": 2, "0": 1}),
        (np.array([[float("nan"), 1]]), {"-1": 1}),
        (np.array(["cat", "dog", "cat"], np.object_), {"cat": 2, "dog": 1}),
        (np.array([True]), {"True": 1}),
        (np.array(["x" * 500 + "1", "x" * 500 + "2"], np.object_), {"x" * 64: 2}),
        (np.array(['"} 1\n# HELP x'], np.object_), {'"} 1\n# HELP x': 1}),
        (np.zeros((0, 3)), {}),
        (np.zeros(VALUES_LIMIT + 1, np.int64), {}),
    ],
)
def test_every_row_counts_its_class(output: Array, expected: dict[str, float]) -> None:
    assert counted(output) == expected


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]], {"0": 1, "1": 2}),
        ([0.4, 0.6, 0.7], {"0": 1, "1": 2}),
        ([[[0.9, 0.1]], [[0.1, 0.9], [0.1, 0.9]], [[0.9, 0.1]]], {"0": 2, "1": 2}),
        ([[[[0.9, 0.1], [0.1, 0.9]]]] * 2, {"0": 2, "1": 2}),
        ([[7], [7, 8], 7], {"7": 3, "8": 1}),
        ([[1, 0]] * 1000, {"1": 1000, "0": 1000}),
        ([[0.0] * 999 + [1.0]] * 40, {"999": 40}),
    ],
)
def test_answers_counted_together_are_those_counted_alone(outputs: list[Any], expected: dict[str, float]) -> None:
    assert counted(*(np.array(each) for each in outputs)) == expected


def test_the_first_classes_have_a_series_each_and_all_others_share_one() -> None:
    found = counted(*(np.array([each], np.int64) for each in range(1000)), np.array([3, 999], np.int64))
    assert len(found) == 21
    assert (found["3"], found["other"]) == (2, 981)


async def test_users_are_counted_and_twins_are_not(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    async with running(path) as server:
        await server.infer([0, 1, 0, 0])
        await server.infer([0, 1, 0, 0], server.twin_url)
        assert classes(await metrics_of(server)) == {"1": 1}


async def metrics_of(server: Running) -> str:
    return (await server.client.get(f"{server.metrics_url}/metrics")).text
