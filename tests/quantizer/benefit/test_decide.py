"""The three words on a speedup, and how often each is wrong."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from quanary.quantizer.benefit.decide import ALPHA, LOOKS, Benefit, decide, interval_of, is_faster, mean_of, t_interval
from quanary.wire.report import BatchFigures, BenefitFigures, Interval

LIMIT = 1.1
RUNS = 20_000


def figures(low: float, high: float, size_ratio: float = 1.0) -> BenefitFigures:
    batch = BatchFigures(
        batch=1,
        float_seconds=2,
        int8_seconds=1,
        ratio=2,
        interval=Interval(low=low, high=high),
        wall_ratio=2,
        block_ratios=(2,),
    )
    other = batch.model_copy(update={"batch": 8, "interval": Interval(low=9, high=9)})
    return BenefitFigures(
        latency_ratio=2,
        batches=(batch, other),
        size_ratio=size_ratio,
        memory_ratio=1,
        cpu_seconds_float=2,
        cpu_seconds_int8=1,
        threads=1,
        blocks=5,
        looks=1,
        min_speedup=LIMIT,
        min_size_reduction=0.25,
    )


@pytest.mark.parametrize(
    ("low", "high", "faster"),
    [(1.2, 1.3, True), (1.1, 1.3, True), (0.9, 1.0999, False), (0.9, 1.1, None), (1.05, 1.2, None)],
)
def test_batch_1_alone_says_whether_int8_is_faster(low: float, high: float, faster: bool | None) -> None:
    assert decide(figures(low, high)) == Benefit(faster, smaller=False)


@pytest.mark.parametrize(("size_ratio", "smaller"), [(0.27, True), (0.75, True), (0.76, False), (1.3, False)])
def test_size_is_a_benefit_of_its_own(size_ratio: float, smaller: bool) -> None:
    assert decide(figures(0.5, 0.6, size_ratio)) == Benefit(faster=False, smaller=smaller)


@pytest.mark.parametrize("blocks", LOOKS)
def test_the_interval_is_students_at_a_third_of_the_error(blocks: int) -> None:
    ratios = np.exp(np.random.default_rng(3).normal(0.3, 0.1, blocks))
    logs = np.log(ratios)
    low, high = stats.t.interval(1 - 2 * ALPHA / 3, blocks - 1, loc=logs.mean(), scale=stats.sem(logs))
    found = interval_of(ratios.tolist())
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)))


def test_twice_as_fast_and_half_as_fast_cancel() -> None:
    assert mean_of((2.0, 0.5)) == pytest.approx(1)


def test_equal_blocks_leave_no_doubt() -> None:
    found = interval_of([1.5] * 5)
    assert (found.low, found.high) == pytest.approx((1.5, 1.5))


def words(true: float, spread: float, seed: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """1 Beneficial, -1 not, 0 neither; and after how many blocks: of many measurements of one true ratio."""
    logs = np.random.default_rng(seed).normal(math.log(true), spread, (RUNS, LOOKS[-1]))
    word, used = np.zeros(RUNS, np.int8), np.full(RUNS, LOOKS[-1], np.int8)
    for blocks in reversed(LOOKS):
        _, low, high = t_interval(logs[:, :blocks])
        said = np.where(low >= math.log(LIMIT), 1, np.where(high < math.log(LIMIT), -1, 0))
        word, used = np.where(said != 0, said, word), np.where(said != 0, blocks, used)
    return word, used


def test_the_simulation_speaks_as_the_program_does() -> None:
    logs = np.random.default_rng(5).normal(math.log(1.15), 0.05, (200, LOOKS[0]))
    _, low, high = t_interval(logs)
    vectorised = np.where(low >= math.log(LIMIT), 1, np.where(high < math.log(LIMIT), -1, 0))
    names = {True: 1, False: -1, None: 0}
    assert [names[is_faster(interval_of(np.exp(each).tolist()), LIMIT)] for each in logs] == vectorised.tolist()


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_too_small_a_gain_passes_in_at_most_5_percent(spread: float) -> None:
    for seed, true in enumerate((1.05, math.nextafter(LIMIT, 0))):
        word, _ = words(true, spread, seed)
        assert (word == 1).mean() <= ALPHA


@pytest.mark.parametrize("spread", [0.02, 0.05, 0.1])
def test_a_gain_at_the_limit_is_denied_in_at_most_5_percent(spread: float) -> None:
    word, _ = words(LIMIT, spread, 7)
    assert (word == -1).mean() <= ALPHA


def test_a_clear_gain_is_seen_and_a_clear_loss_too() -> None:
    word, used = words(1.2, 0.05, 8)
    assert (word == 1).mean() >= 0.99
    assert used.mean() <= 8
    word, used = words(1.5, 0.05, 9)
    assert (word == 1).mean() == 1
    assert used.mean() == 5
    word, _ = words(1.0, 0.05, 10)
    assert (word == -1).mean() >= 0.99


def test_what_15_blocks_cannot_tell_is_said_so() -> None:
    word, used = words(1.1, 0.1, 11)
    assert (word == 0).mean() >= 0.9
    assert used[word == 0].min() == LOOKS[-1]
