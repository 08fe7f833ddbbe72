"""How the arguments and the model decide what is compared."""

from typing import Any

import numpy as np
import pytest

from quanary.server.comparison import Measure
from quanary.server.comparison.measure import SMALL_BYTES
from quanary.server.messages import Signature
from quanary.wire.inference import TensorMetadata
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError

OUTPUTS = (
    TensorMetadata("scores", "FP32", (-1, 3)),
    TensorMetadata("label", "BYTES", (-1,)),
    TensorMetadata("boxes", "FP32", (-1, 10, 4)),
    TensorMetadata("price", "FP32", (-1, 1)),
    TensorMetadata("flag", "BOOL", (-1, 2)),
    TensorMetadata("load", "FP64", (-1,)),
    TensorMetadata("total", "FP32", ()),
)


def measure(name: str, limit: float = 0, output: str = "") -> Measure:
    arguments = ServeArguments(model="m", name="m", divergence=name, divergence_limit=limit, divergence_output=output)
    return Measure.of(arguments, Signature((), OUTPUTS))


@pytest.mark.parametrize(
    ("name", "limit", "output"),
    [
        ("top1", 0, ""),
        ("top1", 0, "label"),
        ("kullbackleibler", 0.1, ""),
        ("cosine", 0.01, "scores"),
        ("boxoverlap", 0.3, "boxes"),
        ("tolerance", 0.05, "price"),
        ("tolerance", 0.05, "load"),
        ("tolerance", 5.0, "total"),
    ],
)
def test_what_fits_the_model_is_taken(name: str, limit: float, output: str) -> None:
    assert measure(name, limit, output) == Measure(name, output or "scores", limit, output in {"load", "label"})


@pytest.mark.parametrize(
    ("name", "limit", "output", "sentence"),
    [
        ("euclid", 1, "", r"--divergence\).*euclid.*top1, kullbackleibler"),
        ("top1", 0.5, "", r"--divergence-limit\).*0\.5.*0: with top1"),
        ("cosine", 0, "", r"--divergence-limit\).*above 0 and below 2"),
        ("cosine", 2, "", r"--divergence-limit\).*above 0 and below 2"),
        ("boxoverlap", 1, "boxes", r"--divergence-limit\).*below 1"),
        ("kullbackleibler", 13, "", r"--divergence-limit\).*below 13"),
        ("tolerance", float("nan"), "", r"--divergence-limit\).*nan"),
        ("tolerance", float("inf"), "", r"--divergence-limit\).*inf"),
        ("top1", 0, "nothing", r"--divergence-output\).*nothing.*scores, label"),
        ("tolerance", 1, "label", r"--divergence-output\).*label: BYTES.*only with top1"),
        ("cosine", 1, "flag", r"--divergence-output\).*BOOL"),
        ("boxoverlap", 0.5, "scores", r"--divergence-output\).*x1, y1, x2, y2"),
        ("boxoverlap", 0.5, "total", r"--divergence-output\)"),
        ("kullbackleibler", 0.5, "price", r"--divergence-output\).*at least 2 values"),
        ("cosine", 0.5, "total", r"--divergence-output\).*at least 2 values"),
    ],
)
def test_what_does_not_is_refused_with_the_flag_and_what_is_allowed(
    name: str, limit: float, output: str, sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence) as refused:
        measure(name, limit, output)
    assert refused.value.refusal.field.startswith("spec.gates.divergence.")


@pytest.mark.parametrize(
    "other", [np.ones((2, 3)), np.ones((1, 4)), np.ones((3,)), np.ones((1, 3), np.int64), np.zeros((0, 3))]
)
@pytest.mark.parametrize("name", ["top1", "kullbackleibler", "cosine", "tolerance"])
def test_other_shapes_and_types_are_infinitely_far(name: str, other: Any) -> None:
    one = Measure(name, "scores", 0.1)
    kept = one.hold(np.ones((1, 3))), one.hold(other)
    # Which class a row has does not say how many classes there were.
    is_apart = not (name == "top1" and other.shape == (1, 4))
    assert one.is_match(one.apart(*kept)) != is_apart


def test_no_rows_are_no_difference() -> None:
    for name in ("top1", "cosine", "tolerance"):
        one = Measure(name, "scores", 0.1)
        assert one.apart(*[one.hold(np.zeros((0, 3)))] * 2) == 0


def test_single_values_of_a_batch_are_each_judged_by_themselves() -> None:
    one, other = np.array([1.0, 100.0]), np.array([1.5, 100.0])
    assert Measure("tolerance", "load", 0.1, is_batch_of_scalars=True).apart(one, other) == pytest.approx(0.5)
    assert Measure("tolerance", "load", 0.1).apart(one, other) == pytest.approx(0.005)
    assert Measure("tolerance", "total", 0.1).apart(np.array(2.0), np.array(3.0)) == pytest.approx(0.5)


def test_what_is_not_a_number_is_never_a_match() -> None:
    assert not Measure("cosine", "scores", 0.1).is_match(float("nan"))


def test_a_part_of_a_batch_does_not_hold_the_batch() -> None:
    batch = np.ones((100, 3), np.float32)
    for name in ("top1", "cosine"):
        held = Measure(name, "scores", 0.1).hold(batch[:1])
        assert held.base is None
        assert Measure(name, "scores", 0.1).hold(batch) is batch


def test_of_a_large_answer_only_its_classes_are_held_and_they_compare_as_the_answer() -> None:
    large = np.random.default_rng(0).random((2, 3, SMALL_BYTES))
    other = large.copy()
    other[1, 2, 7] = 2.0
    one = Measure("top1", "scores", 0)
    held = one.hold(large)
    assert held.nbytes < large.nbytes / 100
    assert [one.apart(held, large), one.apart(large, held), one.apart(held, other)] == [0, 0, 1]
