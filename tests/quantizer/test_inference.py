import numpy as np
import pytest

from quanary.quantizer.inference import answer_of


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (np.array([[0.1, 0.7, 0.2]], np.float32), [1]),
        (np.array([[[0, 1], [1, 0]]], np.float32), [[1, 0]]),
        (np.array([[0.4], [0.6]], np.float32), [0, 1]),
        (np.float32(0.9).reshape(()), 1),
        (np.array([[np.nan, 1.0]], np.float32), [-1]),
        (np.array([[np.inf, -np.inf], [0.0, 1.0], [np.nan, 0.0]], np.float32), [0, 1, -1]),
        (np.array([[3, 9]]), [[3, 9]]),
    ],
)
def test_an_answer_is_the_top_class_or_the_side_of_a_half(
    output: np.typing.NDArray[np.generic], answer: object
) -> None:
    assert np.array_equal(answer_of(output), np.array(answer))
