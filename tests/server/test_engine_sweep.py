"""Which models are run in batches, and which never."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import override

from quanary.server.engine import sweep
from quanary.server.engine.batch import ALONE
from quanary.server.session import ModelFile, Session
from quanary.server.tensors import Tensors
from tests.server import models

LONG = 10.0


def session_of(content: bytes) -> Session:
    return Session(ModelFile(content, ""), 1)


def test_a_model_of_independent_rows_is_run_in_batches_that_pay() -> None:
    plan = sweep.plan(session_of(models.rowwise(width=256)), 0, LONG)
    assert plan.limit.rows > 1
    assert plan.limit.elements == plan.limit.rows * 4
    assert len(plan.run_seconds) >= 2


@pytest.mark.parametrize(
    "content",
    [
        models.classifier(),  # an output without rows
        models.dynamic(),  # quantizes all rows by their common range
        models.dynamic_by_hand(),
        models.over_rows("ReduceMean"),
        models.over_rows("CumSum"),
        models.scaled(),  # an input without rows
        models.fixed(),  # takes one row, whatever comes
        models.random(),
    ],
    ids=["total", "dynamic", "dynamic-by-hand", "mean", "running-sum", "scaled", "fixed", "random"],
)
def test_a_model_whose_rows_look_at_each_other_never_is(content: bytes) -> None:
    assert sweep.plan(session_of(content), 0, LONG).limit.rows == 1
    assert sweep.plan(session_of(content), 8, LONG).limit.rows == 1


def test_the_trial_alone_finds_a_range_over_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "ACROSS_ROWS", frozenset())
    assert sweep.plan(session_of(models.dynamic()), 8, LONG).limit.rows == 1


def test_the_limit_that_is_asked_for_is_taken() -> None:
    assert sweep.plan(session_of(models.rowwise()), 6, LONG).limit.rows == 6
    assert sweep.plan(session_of(models.rowwise()), 1, LONG).limit.rows == 1


def test_a_batch_never_runs_longer_than_it_may() -> None:
    assert sweep.plan(session_of(models.rowwise(width=256)), 0, 0.0).limit.rows == 1


def test_a_model_that_takes_nothing_made_up_is_run_alone() -> None:
    assert sweep.plan(session_of(models.picky()), 0, LONG) == ALONE


def test_a_small_model_runs_on_the_loop_and_a_slow_one_does_not() -> None:
    assert sweep.plan(session_of(models.rowwise()), 0, LONG).tiny_elements >= 4
    assert sweep.plan(Slow(), 0, LONG).tiny_elements == 0


class Slow(Session):
    def __init__(self) -> None:
        super().__init__(ModelFile(models.rowwise(), ""), 2)

    @override
    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        time.sleep(0.001)
        return super().run(inputs)


@pytest.mark.parametrize(
    ("times", "rows"),
    [((1.0,), 1), ((1.0, 2.0), 1), ((1.0, 1.98), 1), ((1.0, 1.5, 2.9, 5.7), 4), ((1.0, 1.1, 1.2, 2.4), 4)],
)
def test_the_smallest_batch_that_saves_about_the_most_is_chosen(times: tuple[float, ...], rows: int) -> None:
    assert sweep._least_worth_it(times) == rows


def test_sums_in_another_order_are_the_same_and_other_answers_are_not() -> None:
    expected = np.array([[1.0, 1e-9, np.nan]], np.float32)
    assert sweep._is_same(expected + np.float32(5e-6), expected)
    assert not sweep._is_same(expected + np.float32(5e-5), expected)
    assert not sweep._is_same(np.zeros((1, 3), np.float32), expected)
    assert not sweep._is_same(np.array([2]), np.array([1]))
