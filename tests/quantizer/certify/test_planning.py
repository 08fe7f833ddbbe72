import pytest
from scipy.stats import binom

from quanary.quantizer.certify.exact import proportion_upper, refutes
from quanary.quantizer.certify.planning import (
    POWER,
    likely_drop,
    most_lost,
    paired_power,
    paired_samples,
    proportion_power,
    proportion_samples,
    scaled_samples,
)


def test_the_number_named_has_the_power_and_nine_tenths_of_it_has_not() -> None:
    samples = proportion_samples(0.005, 0.01, 0.95)
    assert samples is not None
    most = max(each for each in range(40) if proportion_upper(each, samples, 0.95) <= 0.01)
    assert binom.cdf(most, samples, 0.005) >= POWER
    assert proportion_power(samples * 9 // 10, 0.005, 0.01, 0.95) < POWER


@pytest.mark.parametrize("gaining", [0.0, 0.02])
def test_the_number_of_pairs_named_has_the_power(gaining: float) -> None:
    samples = paired_samples(0.025, gaining, 0.05, 0.95)
    assert samples is not None
    high = int(binom.ppf(1 - 1e-6, samples, gaining))
    edge = [most_lost(gained, samples, 0.05, 0.95) for gained in range(high + 1)]
    power = sum(
        binom.pmf(gained, samples, gaining) * binom.cdf(lost, samples - gained, (0.025 + gaining) / (1 - gaining))
        for gained, lost in enumerate(edge)
        if lost >= 0
    )
    assert power >= POWER
    assert paired_power(samples, 0.025, gaining, 0.05, 0.95) == pytest.approx(power, abs=0.02)
    assert paired_power(samples * 8 // 10, 0.025, gaining, 0.05, 0.95) < POWER


@pytest.mark.parametrize(("gained", "samples"), [(0, 300), (6, 300), (0, 50)])
def test_the_edge_is_the_last_that_certifies(gained: int, samples: int) -> None:
    edge = most_lost(gained, samples, 0.02, 0.95)
    assert edge < 0 or refutes(edge, gained, samples, 0.02, 0.95)
    assert not refutes(edge + 1, gained, samples, 0.02, 0.95)


def test_at_the_budget_no_number_of_samples_would_do() -> None:
    assert proportion_samples(0.01, 0.01, 0.95) is None
    assert paired_samples(0.01, 0.1, 0.01, 0.95) is None
    assert scaled_samples(100, 0.01, 0.01, 0.01, (0.95, 0.95)) is None
    assert scaled_samples(100, 0.5, 0.0099999, 0.01, (0.95, 0.95)) is None


def test_a_plan_never_hopes_for_less_than_half_the_budget() -> None:
    assert (likely_drop(-0.1, 0.01), likely_drop(0.0, 0.01), likely_drop(0.008, 0.01)) == (0.005, 0.005, 0.008)


def test_half_the_margin_takes_four_times_the_samples() -> None:
    one, other = (scaled_samples(1000, margin, 0.005, 0.01, (0.95, 0.95)) for margin in (0.01, 0.02))
    assert one is not None
    assert other == pytest.approx(4 * one, abs=4)


def test_large_numbers_are_named_without_walking_an_edge() -> None:
    assert paired_samples(0.0025, 0.1, 0.005, 0.95) == pytest.approx(200_329 * 1.1, rel=0.01)
