"""How a model is best run, found out on made-up inputs before it is ready: in batches of how many rows, and where.

A batch must never change an answer: rows are joined only if a trial has shown that each gets the same answer alone and
among others. A model that quantizes a whole tensor by its own range does not pass: one user's answer would depend on
his neighbours.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.engine.batch import ALONE, Limit, Plan
from quanary.server.session import Session
from quanary.server.tensors import DTYPES
from quanary.wire.inference import TensorMetadata

ROWS_LIMIT: Final = 64
TRIAL_ROWS: Final = 4
TRIAL_SECONDS: Final = 1.0
# A batch that runs longer has nothing left to gain.
RUN_SECONDS_LIMIT: Final = 0.25
# Dimensions that vary besides the first: enough for a row to have neighbours in it, else what every model takes.
VARYING_SIZES: Final = (16, 1)
SWEEP_SECONDS: Final = 3.0  # all of it, but the last run
SIZE_SECONDS: Final = 0.05  # on one number of rows
LEAST_RUNS: Final = 10
ROUNDS: Final = 8  # of all numbers of rows in turns, so that no moment of the machine decides between them
# What a run costs besides, to the thread and back, where a model leaves nothing of ours in the processor's caches.
HAND_OVER_SECONDS: Final = 0.0005
# A larger batch keeps its first request waiting: what it saves must be worth that.
MARGIN: Final = 0.03
TOLERANCE: Final = 1e-5  # of a row's greatest output, for kernels sum in another order for another number of rows
# Each takes the range, or the random state, of a whole tensor: with them a trial could pass by luck.
ACROSS_ROWS: Final = frozenset(
    {
        "Bernoulli",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
TINY_SECONDS: Final = 0.0003
TINY_ROUNDS: Final = 20
TINY_RUNS: Final = 20

Arrays = dict[str, NDArray[Any]]


def plan(session: Session, max_batch: int, run_seconds_limit: float) -> Plan:
    """The plan for a warmed-up model: no batch runs longer than `run_seconds_limit`; `max_batch` 0 is found out.

    A model whose inputs cannot be made up is run one request at a time.
    """
    deadline = time.perf_counter() + SWEEP_SECONDS
    for varying in VARYING_SIZES:
        inputs = _made_up(session, 1, varying)
        try:
            session.run(inputs)
        except Exception:  # noqa: BLE001, S112  not a size it takes, or no sensible input at all
            continue
        found = _plan_for(session, varying, max_batch, min(run_seconds_limit, RUN_SECONDS_LIMIT), deadline)
        elements = sum(array.size for array in inputs.values()) * found.limit.rows
        session.shrink(inputs)
        is_tiny = _is_tiny(session, inputs)
        # Who asks for a number of rows has rows in mind, however long they are.
        limit = Limit(found.limit.rows, np.iinfo(np.int64).max if max_batch else elements)
        return replace(found, limit=limit, tiny_elements=elements if is_tiny else 0)
    return ALONE


def _plan_for(session: Session, varying: int, max_batch: int, run_seconds_limit: float, deadline: float) -> Plan:
    def run_seconds(rows: int) -> float:
        return _run_seconds(session, _made_up(session, rows, varying), deadline)

    first = run_seconds(1)
    alone = Plan(Limit(1, 0), (first,))
    is_pointless = max_batch == 1 or (not max_batch and first > run_seconds_limit)
    if is_pointless or not _has_rows(session) or not _is_same_in_a_batch(session, TRIAL_ROWS, varying):
        return alone
    top = max_batch or ROWS_LIMIT
    sizes = [2**power for power in range(1, top.bit_length()) if 2**power <= top]
    times = [first, *_sweep(run_seconds, first, sizes, run_seconds_limit, deadline)]
    times = _in_turns(session, varying, times, deadline)
    rows = max_batch or _least_worth_it(times)
    # Once more with as many, for kernels are chosen by size.
    if rows > 1 and not _is_same_in_a_batch(session, max(2, min(rows, int(TRIAL_SECONDS / first))), varying):
        return alone
    return Plan(Limit(rows, 0), tuple(times))


def _has_rows(session: Session) -> bool:
    """Whether the first axis of everything varies, and no operator looks across it."""
    tensors = (*session.signature.inputs, *session.signature.outputs)
    return all(each.shape[:1] == (-1,) for each in tensors) and not ACROSS_ROWS & session.operators


def _is_same_in_a_batch(session: Session, rows: int, varying: int) -> bool:
    """Whether each row's outputs are the same alone and among others of quite another range."""
    batch = _made_up(session, rows, varying)
    try:
        together = session.run(batch)
        alone = [session.run({name: array[row : row + 1] for name, array in batch.items()}) for row in range(rows)]
    except Exception:  # noqa: BLE001  it does not take them together, or not alone
        return False
    return all(
        array.shape[:1] == (rows,) and _is_same(array[row : row + 1], alone[row][name])
        for name, array in together.items()
        for row in range(rows)
    )


def _is_same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    if found.shape != expected.shape:
        return False
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    scale = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    return bool(np.allclose(found, expected, rtol=0, atol=TOLERANCE * float(scale), equal_nan=True))


def _sweep(
    run_seconds: Callable[[int], float], first: float, sizes: Sequence[int], limit: float, deadline: float
) -> Iterator[float]:
    """Times of ever larger runs, until two in a row save nothing, or one is too long, or time is up."""
    best, wasted = first + HAND_OVER_SECONDS, 0
    for rows in sizes:
        if time.perf_counter() >= deadline:
            return
        seconds = run_seconds(rows)
        if seconds > limit:
            return
        yield seconds
        per_row = (seconds + HAND_OVER_SECONDS) / rows
        wasted = 0 if per_row < best * (1 - MARGIN) else wasted + 1
        best = min(best, per_row)
        if wasted == 2:
            return


def _in_turns(session: Session, varying: int, times: Sequence[float], deadline: float) -> list[float]:
    """The times again, less what else the machine did in the moment when each was taken."""
    clock, fastest = _clock(session), list(times)
    inputs = [_made_up(session, 2**power, varying) for power in range(len(times))]
    for _ in range(ROUNDS):
        for power, each in enumerate(inputs):
            if time.perf_counter() >= deadline:
                return fastest
            started = clock()
            session.run(each)
            fastest[power] = min(fastest[power], clock() - started)
    return fastest


def _least_worth_it(times: Sequence[float]) -> int:
    """The smallest size whose time per row is within the margin of the least."""
    per_row = [(seconds + HAND_OVER_SECONDS) / 2**power for power, seconds in enumerate(times)]
    return int(2 ** next(power for power, each in enumerate(per_row) if each * (1 - MARGIN) <= min(per_row)))


def _run_seconds(session: Session, inputs: Arrays, deadline: float) -> float:
    """The fastest of some runs, for what else the machine does only ever adds."""
    clock, times = _clock(session), list[float]()
    end = time.perf_counter() + SIZE_SECONDS
    while not times or time.perf_counter() < (end if len(times) >= LEAST_RUNS else deadline):
        started = clock()
        session.run(inputs)
        times.append(clock() - started)
    return min(times)


def _clock(session: Session) -> Callable[[], float]:
    """Of the thread that runs the model, if it does so alone: then it stands still while others have the CPU."""
    return time.thread_time if session.threads == 1 else time.perf_counter


def _is_tiny(session: Session, inputs: Arrays) -> bool:
    """Whether even the slowest run is so short, in a round that the machine's other work left alone."""
    return any(_slowest(session, inputs) < TINY_SECONDS for _ in range(TINY_ROUNDS))


def _slowest(session: Session, inputs: Arrays) -> float:
    """Of a round; it is broken off when that is too long."""
    clock, slowest = _clock(session), 0.0
    for _ in range(TINY_RUNS):
        started = clock()
        session.run(inputs)
        slowest = max(slowest, clock() - started)
        if slowest >= TINY_SECONDS:
            break
    return slowest


def _made_up(session: Session, rows: int, varying: int) -> Arrays:
    """Inputs of that many rows that differ; the same ones for the same numbers."""
    random = np.random.default_rng(0)
    return {each.name: _made_up_tensor(each, rows, varying, random) for each in session.signature.inputs}


def _made_up_tensor(tensor: TensorMetadata, rows: int, varying: int, random: np.random.Generator) -> NDArray[Any]:
    first = [rows if tensor.shape[0] < 0 else tensor.shape[0]] if tensor.shape else []
    shape = [*first, *(varying if size < 0 else size for size in tensor.shape[1:])]
    dtype = DTYPES[tensor.datatype]
    if dtype.kind == "f":
        scales = np.resize([1.0, 0.01, 10.0, 0.1], shape[:1]).reshape(*shape[:1], *[1] * (len(shape) - 1))
        return np.asarray(random.standard_normal(shape) * scales, dtype)
    # 0 and 1 are indices and masks that every model takes; of them some rows have only ones, and so another range.
    values = np.array(random.integers(0, 2, shape))
    np.atleast_1d(values)[::2] = 1
    return values.astype(str).astype(dtype) if tensor.datatype == "BYTES" else values.astype(dtype)
