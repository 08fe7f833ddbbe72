"""Which requests run as one, and what each gets of it."""

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.server.engine import Execution
from quanary.server.engine.batch import Limit, Plan, Waiting, run, take
from quanary.server.session import ModelFile, Session
from tests.server import models

FREE = Limit(100, 10_000)


def waiting(*shapes: tuple[int, ...]) -> Waiting:
    inputs = {f"x{number}": np.zeros(shape, np.float32) for number, shape in enumerate(shapes)}
    return Waiting(inputs)


@pytest.mark.parametrize(
    ("shapes", "limit", "rows"),
    [
        ([(1, 4), (1, 4), (1, 4)], FREE, [1, 1, 1]),
        ([(1, 4), (1, 5), (2, 4)], FREE, [1, 2]),  # another length waits for its own turn
        ([(1, 4), (3, 4), (2, 4)], Limit(3, 100), [1, 2]),  # one that does not fit lets others past
        ([(1, 4), (1, 4), (1, 4)], Limit(8, 8), [1, 1]),
        ([(9, 4), (1, 4)], Limit(8, 100), [9]),  # who asks for more than that gets it, alone
        ([(1, 4), (1, 4)], Limit(1, 100), [1]),
        ([(), ()], FREE, [0]),
        ([(0, 4), (1, 4)], FREE, [0]),
        ([(1, 4), (0, 4), (1, 4)], FREE, [1, 1]),
    ],
)
def test_what_is_alike_and_fits_runs_as_one(shapes: Any, limit: Limit, rows: list[int]) -> None:
    backlog = deque(waiting(shape) for shape in shapes)
    batch = take(backlog, limit)
    assert [each.rows for each in batch] == rows
    assert len(backlog) == len(shapes) - len(rows)


def test_inputs_that_differ_in_their_rows_run_alone() -> None:
    backlog = deque([waiting((2, 4), (3, 4)), waiting((2, 4), (3, 4))])
    assert len(take(backlog, FREE)) == 1


def test_those_given_up_leave_without_a_run() -> None:
    all_of_them = [waiting((1, 4)) for _ in range(4)]
    for each in (all_of_them[0], all_of_them[2]):
        each.give_up()
    backlog = deque(all_of_them)
    assert take(backlog, FREE) == [all_of_them[1], all_of_them[3]]
    assert not backlog
    all_of_them[1].give_up()
    assert take(deque([all_of_them[1]]), FREE) == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=30), st.integers(1, 8))
def test_in_the_end_each_runs_once_and_like_ones_in_order(shapes: list[tuple[int, int]], rows: int) -> None:
    everybody = [waiting(shape) for shape in shapes]
    backlog, ran = deque(everybody), []
    while backlog:
        batch = take(backlog, Limit(rows, 12))
        assert len(batch) == 1 or sum(each.rows for each in batch) <= rows
        assert len(batch) == 1 or sum(each.elements for each in batch) <= 12
        ran += batch
    assert sorted(ran, key=id) == sorted(everybody, key=id)
    assert ran[:1] == everybody[:1]


def test_answers_are_views_of_one_run() -> None:
    session = Session(ModelFile(models.rowwise(), ""), 1)
    batch = [Waiting({"x": np.full((rows, 4), rows, np.float32)}) for rows in (1, 3, 2)]
    outcomes = run(session, batch, Plan(FREE, (1.0,)))
    arrays = [outcome.outputs["scores"] for outcome in outcomes if isinstance(outcome, Execution)]
    assert [array.tolist() for array in arrays] == [[[rows] * 3] * rows for rows in (1, 3, 2)]
    assert len({id(array.base) for array in arrays}) == 1


def test_outputs_without_the_rows_of_the_batch_are_not_shared_out() -> None:
    session = Session(ModelFile(models.classifier(), ""), 1)
    batch = [Waiting({"x": np.full((1, 4), n, np.float32)}) for n in range(3)]
    outcomes = run(session, batch, Plan(FREE, (1.0,)))
    totals = [float(outcome.outputs["total"]) for outcome in outcomes if isinstance(outcome, Execution)]
    assert totals == [0, 3, 6]


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_let_go_of_its_inputs_harms_nobody(place: int) -> None:
    session = Session(ModelFile(models.rowwise(), ""), 1)
    batch = [Waiting({"x": np.full((1, 4), n, np.float32)}) for n in range(3)]
    batch[place].give_up()
    outcomes = run(session, batch, Plan(FREE, (1.0,)))
    answered = [outcome.outputs["scores"].tolist() for outcome in outcomes if isinstance(outcome, Execution)]
    assert answered == [[[n] * 3] for n in range(3) if n != place]
    assert isinstance(outcomes[place], Exception)


@pytest.mark.parametrize(
    ("rows", "total", "seconds"),
    [
        (1, 1, 0.6),
        (1, 2, 0.4),  # two take 1.5 times as long as one
        (2, 2, 0.6),
        (1, 3, 0.3),  # between 2 and 4
        (4, 8, 0.3),  # beyond what was tried: in proportion
    ],
)
def test_execution_time_is_what_the_request_had_taken_alone(rows: int, total: int, seconds: float) -> None:
    plan = Plan(FREE, (0.010, 0.015, 0.025))
    assert plan.seconds_alone(0.6, rows, total) == pytest.approx(seconds)
