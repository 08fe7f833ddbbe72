import numpy as np
import pytest

from quanary.quantizer.certify.metrics import Resampled, open_metric
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, one_hot, sample, scores

CASES = [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (2, 1, 2), (2, 2, 2), (0, 0, 2)]


def by_hand(labels: list[int], answers: list[int], judged: list[int]) -> float:
    scores_of = []
    for each in judged:
        hits = sum(label == answer == each for label, answer in zip(labels, answers, strict=True))
        precision, recall = hits / max(answers.count(each), 1), hits / max(labels.count(each), 1)
        scores_of.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return float(np.mean(scores_of))


def test_macro_f1_is_the_mean_of_harmonic_means() -> None:
    found = estimate(open_metric("f1"), *[(one_hot(4, f), one_hot(4, i), label) for f, i, label in CASES])
    floats, int8s, labels = (list(each) for each in zip(*CASES, strict=True))
    assert found.float_value == pytest.approx(by_hand(labels, floats, [0, 1, 2]))
    assert found.int8_value == pytest.approx(by_hand(labels, int8s, [0, 1, 2]))
    assert found.drop == pytest.approx(found.float_value - found.int8_value)


def test_both_models_are_averaged_over_the_classes_of_the_labels() -> None:
    found = estimate(open_metric("f1"), (one_hot(3, 0), one_hot(3, 2), 0), (one_hot(3, 1), one_hot(3, 1), 1))
    assert found.int8_value == 0.5


def test_binary_f1_is_that_of_class_one() -> None:
    cases = [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0), (1, 1, 0)]
    found = estimate(open_metric("f1_binary"), *[(scores([f]), scores([i]), label) for f, i, label in cases])
    assert found.float_value == pytest.approx(0.8)
    assert found.int8_value == pytest.approx(2 / 5)


def test_binary_f1_refuses_more_classes() -> None:
    with pytest.raises(RefusedError, match="two classes or one score for f1_binary"):
        open_metric("f1_binary").observe(one_hot(3, 0), one_hot(3, 0), sample(0))


def test_answers_of_one_sample_are_resampled_together() -> None:
    metric = open_metric("f1")
    assert isinstance(metric, Resampled)
    frames = [np.eye(2, dtype=np.float32)[[0, 1, 1]]]
    other = [np.eye(2, dtype=np.float32)[[0, 0, 1]]]
    rows = [metric.observe(frames, other, sample([0, 1, 1])), metric.observe(frames, frames, sample([0, 1, 0]))]
    fit = metric.fit(rows)
    twice = metric.estimate([rows[0], rows[0], rows[1]]).drop
    drops = fit.drops(np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]]))
    assert drops == pytest.approx([fit.estimate.drop, twice, 0.0])


def test_a_resample_is_averaged_over_the_classes_it_has() -> None:
    metric = open_metric("f1")
    assert isinstance(metric, Resampled)
    rows = [metric.observe(one_hot(3, f), one_hot(3, i), sample(label)) for f, i, label in CASES]
    weights = np.array([[1, 1, 1, 0, 0, 0, 0]], float)
    assert metric.fit(rows).drops(weights) == pytest.approx([metric.estimate(rows[:3]).drop])


def test_a_sample_of_many_answers_is_a_row_of_few_numbers() -> None:
    metric = open_metric("f1")
    answers = np.random.default_rng(0).integers(0, 3, (2, 50_000))
    pixels = [[np.eye(3, dtype=np.float32)[each]] for each in answers]
    row = metric.observe(pixels[0], pixels[1], sample(answers[0]))
    assert len(row) <= 4 * 9
    assert metric.estimate([row]).float_value == 1.0
    by_class = [by_hand(answers[0].tolist(), answers[1].tolist(), [each]) for each in range(3)]
    assert metric.estimate([row]).int8_value == pytest.approx(np.mean(by_class))
