import numpy as np

from quanary.quantizer.certify.metrics import Row, open_metric
from quanary.quantizer.search.gap import noise_of

AGREEMENT = open_metric("agreement")


def rows(wrong: int, samples: int = 200) -> list[Row]:
    return [(1.0, 0.0 if index < wrong else 1.0) for index in range(samples)]


def drawn(draw: np.random.Generator) -> list[Row]:
    return [(1.0, float(each)) for each in draw.random(100) > 0.1]


def gap(one: list[Row], other: list[Row]) -> float:
    return AGREEMENT.estimate(one).drop - AGREEMENT.estimate(other).drop


def test_the_same_answers_have_no_noise() -> None:
    assert noise_of(AGREEMENT, rows(5), rows(5)) == 0.0


def test_a_few_more_errors_are_within_the_noise() -> None:
    assert gap(rows(5), rows(2)) <= noise_of(AGREEMENT, rows(5), rows(2))


def test_many_more_errors_on_the_kernels_exceed_it() -> None:
    assert gap(rows(30), rows(5)) > noise_of(AGREEMENT, rows(30), rows(5))


def test_chance_exceeds_the_noise_no_more_than_one_time_in_forty() -> None:
    draw, exceeded = np.random.default_rng(3), 0
    for _ in range(30):
        one, other = (drawn(draw) for _ in range(2))
        exceeded += gap(one, other) > noise_of(AGREEMENT, one, other)
    # At 0.025 a binomial of 30 has at most 4 in 99.9 %.
    assert exceeded <= 4
