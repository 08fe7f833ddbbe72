import math

import numpy as np
import pytest

from quanary.quantizer.certify.metrics import Resampled, open_metric, ranking
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, sample, scores


def area(labels: list[int], values: list[float]) -> float:
    """By its definition, over all pairs."""
    pairs = [
        (p > n) + (p == n) / 2
        for p, y in zip(values, labels, strict=True)
        if y
        for n, z in zip(values, labels, strict=True)
        if not z
    ]
    return float(np.mean(pairs))


def test_the_area_is_how_often_a_positive_scores_above_a_negative() -> None:
    draw = np.random.default_rng(2)
    labels = [int(each) for each in draw.integers(0, 2, 60)]
    first, second = ([float(each) for each in draw.integers(0, 9, 60) / 8 + np.array(labels) / 4] for _ in range(2))
    cases = [(scores([f]), scores([i]), y) for f, i, y in zip(first, second, labels, strict=True)]
    found = estimate(open_metric("roc_auc"), *cases)
    assert found.float_value == pytest.approx(area(labels, first))
    assert found.int8_value == pytest.approx(area(labels, second))


def test_two_scores_count_by_their_difference() -> None:
    cases = [(scores([0.2, 0.8]), scores([0.9, 0.8]), 1), (scores([0.6, 0.4]), scores([0.1, 0.3]), 0)]
    found = estimate(open_metric("roc_auc"), *cases)
    assert (found.float_value, found.int8_value, found.drop) == (1, 0, 1)


def test_weights_count_rows_as_often_as_they_say() -> None:
    metric, draw = open_metric("roc_auc"), np.random.default_rng(5)
    assert isinstance(metric, Resampled)
    rows = [metric.observe(scores([draw.random()]), scores([draw.random()]), sample(i % 2)) for i in range(20)]
    picks = draw.integers(0, 20, 20)
    weights = np.bincount(picks, minlength=20)[None].astype(float)
    assert metric.fit(rows).drops(weights) == pytest.approx([metric.estimate([rows[each] for each in picks]).drop])


def test_resamples_of_many_answers_are_counted_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    metric, draw = open_metric("roc_auc"), np.random.default_rng(6)
    assert isinstance(metric, Resampled)
    outputs = [[draw.random((9, 1), np.float32)] for _ in range(2 * 8)]
    label = np.arange(9) % 2
    fit = metric.fit([metric.observe(outputs[2 * i], outputs[2 * i + 1], sample(label)) for i in range(8)])
    weights = draw.multinomial(8, np.full(8, 1 / 8), 7).astype(float)
    whole = fit.drops(weights)
    monkeypatch.setattr(ranking, "_NUMBERS", 2 * 72)
    assert fit.drops(weights) == pytest.approx(whole)


def test_an_artifact_that_answers_with_no_number_is_ranked_on_the_wrong_side() -> None:
    cases = [(scores([0.9]), scores([np.nan]), 1), (scores([0.1]), scores([np.nan]), 0)]
    assert estimate(open_metric("roc_auc"), *cases).drop == 1


def test_one_class_alone_defines_no_area() -> None:
    assert math.isnan(estimate(open_metric("roc_auc"), (scores([0.9]), scores([0.9]), 1)).drop)


@pytest.mark.parametrize(
    ("output", "label", "message"),
    [
        (scores([0.1, 0.2, 0.7]), 1, "scores of two classes, or one score"),
        ([np.array([1])], 1, "scores of two classes, or one score"),
        (scores([0.1]), 2, "0 to 1"),
        (scores([np.nan]), 1, "float answers NaN"),
    ],
)
def test_what_does_not_fit_names_the_sample(
    output: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], label: int, message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        open_metric("roc_auc").observe(output, output, sample(label))
