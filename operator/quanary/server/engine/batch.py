"""Requests that wait for the model, and how several of them become one run and several answers again."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from quanary.server.engine import Execution
from quanary.server.session import Session
from quanary.server.soon import Soon
from quanary.server.tensors import Tensors


@dataclass(frozen=True)
class Limit:
    """What one run takes at most: rows, and elements of all inputs, for rows may be longer than those tried."""

    rows: int
    elements: int


@dataclass(frozen=True)
class Plan:
    """How to run a model. `run_seconds` are of 1, 2, 4, … rows in one run, as far as they were tried."""

    limit: Limit
    run_seconds: tuple[float, ...]
    tiny_elements: int = 0  # up to so many a run is so short that waking a thread would cost more

    def seconds_alone(self, seconds: float, rows: int, total: int) -> float:
        """Of a run of `total` rows in `seconds`: what `rows` of them would have taken in a run of their own.

        The variants of a model are compared by execution time on the same input, each with batches as its own load
        makes them. Neither the whole run nor an even share of it can be compared: one blames, the other praises the
        variant with more load. So the share is scaled by what the sweep measured for both numbers of rows.
        """
        return seconds * self._expected[rows] / self._expected[total]

    @cached_property
    def _expected(self) -> tuple[float, ...]:
        """Seconds of a run of 0, 1, 2, … rows, up to the limit."""
        sizes = [2**power for power in range(len(self.run_seconds))]
        rows = np.arange(self.limit.rows + 1)
        seconds = np.interp(rows, sizes, self.run_seconds) * np.maximum(1, rows / sizes[-1])
        return tuple(seconds.tolist())


ALONE: Final = Plan(Limit(1, 0), (1.0,))  # for a model that nothing is known of


class Waiting(Soon[Execution]):
    """An execution that waits. `rest` are its shapes without the first axis: only the same ones can run as one."""

    __slots__ = ("elements", "inputs", "rest", "rows")

    def __init__(self, inputs: Tensors) -> None:
        """Measure `inputs`. Scalars, and inputs that differ in their rows, have no rows: they run alone."""
        super().__init__()
        self.inputs = inputs
        self.rows = -1
        self.elements = 0
        self.rest: list[tuple[int, ...]] = []
        for array in inputs.values():
            shape = array.shape
            rows = shape[0] if shape else 0
            self.rows = rows if self.rows in (rows, -1) else 0
            self.elements += array.size
            self.rest.append(shape[1:])

    @override
    def settle(self, result: Execution | Exception) -> None:
        """Let go of the inputs: what has come may be remembered for as long as older requests wait."""
        self.inputs = {}
        super().settle(result)

    @override
    def give_up(self) -> None:
        """Let go of the inputs: it may stay in the backlog for long, counted by nobody."""
        super().give_up()
        self.inputs = {}


# What a request gets in the end.
Outcome = Execution | Exception


def take(backlog: deque[Waiting], limit: Limit) -> list[Waiting]:
    """The first of the backlog and as many like it as fit, in order; they leave the backlog, and so do those given up.

    Empty if all were.
    """
    while backlog and backlog[0].is_over:
        backlog.popleft()
    if not backlog:
        return []
    taken = [backlog.popleft()]
    rows, elements = taken[0].rows, taken[0].elements
    if not backlog or not rows or rows >= limit.rows:
        return taken
    left: list[Waiting] = []
    for each in backlog:
        is_fitting = rows + each.rows <= limit.rows and elements + each.elements <= limit.elements
        if not is_fitting or not each.rows or each.rest != taken[0].rest:
            left.append(each)
        elif not each.is_over:
            taken.append(each)
            rows, elements = rows + each.rows, elements + each.elements
    backlog.clear()
    backlog.extend(left)
    return taken


def run(session: Session, batch: Sequence[Waiting], plan: Plan) -> list[Outcome]:
    """One outcome for each: of one run, or of one run each if that fails, so that a bad input fails alone."""
    if len(batch) == 1:
        return [_run_alone(session, batch[0])]
    rows = sum([each.rows for each in batch])
    try:
        joined = {name: np.concatenate([each.inputs[name] for each in batch]) for name in batch[0].inputs}
        started = time.perf_counter()
        outputs = session.run(joined)
        seconds = time.perf_counter() - started
    except Exception:  # noqa: BLE001  the one to blame will fail again, alone
        outputs, seconds = {}, 0.0
    if not outputs or any(array.shape[:1] != (rows,) for array in outputs.values()):
        return [_run_alone(session, each) for each in batch]
    return _split(batch, rows, outputs, plan, seconds)


def _split(
    batch: Sequence[Waiting], rows: int, outputs: Mapping[str, NDArray[Any]], plan: Plan, seconds: float
) -> list[Outcome]:
    """Views, no copies."""
    outcomes: list[Outcome] = []
    start = 0
    for each in batch:
        end = start + each.rows
        part = {name: array[start:end] for name, array in outputs.items()}
        outcomes.append(Execution(part, plan.seconds_alone(seconds, each.rows, rows)))
        start = end
    return outcomes


def _run_alone(session: Session, waiting: Waiting) -> Outcome:
    started = time.perf_counter()
    try:
        outputs = session.run(waiting.inputs)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the asker's answer
        return error
    return Execution(outputs, time.perf_counter() - started)
