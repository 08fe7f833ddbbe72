import numpy as np
import pytest

from quanary.quantizer.certify import open_metric
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, one_hot, sample, scores


def test_agreement_takes_float_for_right() -> None:
    found = estimate(
        open_metric("agreement"),
        (one_hot(3, 0), one_hot(3, 0), None),
        (one_hot(3, 1), one_hot(3, 2), None),
        (scores([0.4]), scores([0.49]), None),
        (scores([0.4]), scores([0.51]), None),
    )
    assert (found.float_value, found.int8_value, found.drop) == (1, 0.5, 0.5)


def test_accuracy_follows_who_was_right() -> None:
    cases = [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 3, 1), (2, 2, 1)]
    metric = open_metric("accuracy")
    rows = [metric.observe(one_hot(4, f), one_hot(4, i), sample([label])) for f, i, label in cases]
    assert rows == [(1, 1), (1, 0), (0, 1), (0, 0), (0, 0)]
    assert metric.estimate(rows).drop == 0


def test_all_answers_of_a_sample_must_be_right() -> None:
    two = [np.array([[0, 1], [1, 0]], np.float32)]
    one_wrong = [np.array([[0, 1], [0, 1]], np.float32)]
    assert open_metric("accuracy").observe(two, one_wrong, sample([1, 0])) == (1, 0)
    assert open_metric("agreement").observe(two, one_wrong, sample()) == (1, 0)


def test_an_answer_that_is_not_a_number_is_wrong() -> None:
    broken = [np.array([[np.nan, 1.0]], np.float32)]
    assert open_metric("accuracy").observe(one_hot(2, 1), broken, sample(1)) == (1, 0)
    assert open_metric("recall@1").observe(one_hot(2, 1), broken, sample(1)) == (1, 0)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([1, 2], r"sample 7: 2 labels.*1, one for each answer"),
        ([4], r"sample 7: label \[4\].*0 to 3"),
        ([-1], "0 to 3"),
        ([0.5], "a label of type float64.*class numbers"),
        (None, "no label.*`label`"),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "recall@2", "f1"])
def test_a_label_that_does_not_fit_names_the_sample(name: str, label: object, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        open_metric(name).observe(one_hot(4, 1), one_hot(4, 1), sample(label, index=7))


@pytest.mark.parametrize(("k", "found"), [(1, (0, 1)), (2, (1, 1)), (3, (1, 1))])
def test_recall_counts_labels_among_the_highest_scores(k: int, found: tuple[int, int]) -> None:
    first, second = scores([0.1, 0.5, 0.4, 0.0]), scores([0.1, 0.4, 0.5, 0.0])
    assert open_metric(f"recall@{k}").observe(first, second, sample(2)) == found


def test_recall_at_one_is_accuracy_ties_included() -> None:
    draw = np.random.default_rng(0)
    recall, accuracy = open_metric("recall@1"), open_metric("accuracy")
    for label in draw.integers(0, 4, 50):
        first, second = ([draw.integers(0, 3, (1, 4)).astype(np.float32)] for _ in range(2))
        assert recall.observe(first, second, sample(label)) == accuracy.observe(first, second, sample(label))


@pytest.mark.parametrize("output", [scores([0.1, 0.9]), [np.array([[1, 2, 3]])], [np.float32(1).reshape(())]])
def test_recall_needs_more_classes_than_it_looks_at(
    output: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]],
) -> None:
    with pytest.raises(RefusedError, match=r"scores of more than 2 classes for recall@2"):
        open_metric("recall@2").observe(output, output, sample(0))
