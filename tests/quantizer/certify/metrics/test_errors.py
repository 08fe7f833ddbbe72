import math

import numpy as np
import pytest

from quanary.quantizer.certify import open_metric
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import estimate, sample, scores

TRUTH = ((1.0, 3.0), (5.0, 7.0))
FLOAT = ((2.0, 3.0), (5.0, 8.0))
INT8 = ((3.0, 3.0), (5.0, 8.0))


@pytest.mark.parametrize(
    ("name", "float_value", "int8_value"), [("mae", 0.5, 0.75), ("rmse", math.sqrt(0.5), math.sqrt(1.25))]
)
def test_errors_are_judged_by_their_relative_increase(name: str, float_value: float, int8_value: float) -> None:
    cases = [(scores(first), scores(second), truth) for first, second, truth in zip(FLOAT, INT8, TRUTH, strict=True)]
    found = estimate(open_metric(name), *cases)
    assert found.float_value == pytest.approx(float_value)
    assert found.int8_value == pytest.approx(int8_value)
    assert found.drop == pytest.approx(int8_value / float_value - 1)


def test_an_increase_over_no_error_is_not_defined() -> None:
    assert math.isnan(estimate(open_metric("mae"), (scores([1.0]), scores([2.0]), [1.0])).drop)


@pytest.mark.parametrize("name", ["mae", "rmse", "cosine"])
def test_an_artifact_that_answers_with_no_number_is_hopeless(name: str) -> None:
    found = estimate(open_metric(name), *[(scores([1.0, 2.0]), scores([np.nan, 2.0]), [1.0, 3.0])] * 3)
    assert found.drop > 1


@pytest.mark.parametrize(
    ("first", "second", "cosine"),
    [
        ([1, 0], [2, 0], 1),
        ([1, 0], [0, 3], 0),
        ([1, 0], [-1, 0], -1),
        ([3, 4], [4, 3], 0.96),
        ([0, 0], [0, 0], 1),
        ([0, 0], [1, 0], 0),
    ],
)
def test_cosine_is_that_of_the_angle(first: list[float], second: list[float], cosine: float) -> None:
    found = estimate(open_metric("cosine"), (scores(first), scores(second), None))
    assert found.float_value == 1
    assert found.int8_value == pytest.approx(cosine)
    assert found.drop == pytest.approx(1 - cosine)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([1.0], "1 numbers in the label"),
        ([1.0, np.inf], "finite numbers"),
        (["a", "b"], "a label of type <U1"),
        (None, "no label"),
    ],
)
def test_a_label_that_does_not_fit_names_the_sample(label: object, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as error:
        open_metric("mae").observe(scores([1.0, 2.0]), scores([1.0, 2.0]), sample(label, index=3))
    assert "shard a.npz, sample 3" in error.value.refusal.found


def test_outputs_that_are_no_numbers_or_of_another_size_are_refused() -> None:
    text = [np.array(["yes"], object)]
    with pytest.raises(RefusedError, match="numbers for cosine"):
        open_metric("cosine").observe(text, text, sample())
    with pytest.raises(RefusedError, match="1 numbers from the artifact, 2 from float"):
        open_metric("cosine").observe(scores([1.0, 2.0]), scores([1.0]), sample())
    with pytest.raises(RefusedError, match="float answers NaN"):
        open_metric("cosine").observe(scores([np.nan]), scores([1.0]), sample())
