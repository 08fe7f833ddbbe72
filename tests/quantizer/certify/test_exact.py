import itertools

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from quanary.quantizer.certify import exact
from quanary.quantizer.certify.exact import (
    PairedTest,
    drop_upper,
    proportion_lower,
    proportion_upper,
    refutes,
    score,
    score_upper,
)


@pytest.mark.parametrize(("count", "samples"), [(0, 50), (1, 50), (7, 300), (49, 50)])
def test_proportion_bounds_are_where_the_binomial_tail_reaches_the_error(count: int, samples: int) -> None:
    upper, lower = proportion_upper(count, samples, 0.95), proportion_lower(count, samples, 0.95)
    assert binom.cdf(count, samples, upper) == pytest.approx(0.05)
    assert lower == 0 if count == 0 else binom.sf(count - 1, samples, lower) == pytest.approx(0.05)


def test_all_wrong_bounds_nothing() -> None:
    assert proportion_upper(5, 5, 0.95) == 1
    assert drop_upper(5, 0, 5, 0.95) == 1


@pytest.mark.parametrize("samples", [298, 299])
def test_without_a_loss_the_bound_is_the_rule_of_three(samples: int) -> None:
    bound = proportion_upper(0, samples, 0.95)
    assert bound == pytest.approx(1 - 0.05 ** (1 / samples))
    assert (bound <= 0.01) == (samples == 299)


@pytest.mark.parametrize("table", [(20, 10, 500), (0, 0, 300), (3, 40, 1000), (150, 100, 2000), (0, 1, 1)])
def test_a_bound_is_the_least_drop_that_the_table_refutes(table: tuple[int, int, int]) -> None:
    bound = drop_upper(*table, 0.95)
    assert refutes(*table, bound, 0.95)
    assert not refutes(*table, bound - 1e-6, 0.95)


@pytest.mark.parametrize("table", [(20, 10, 500), (1, 0, 300), (60, 50, 2000), (2, 2, 500)])
def test_the_bound_is_sharper_than_bounding_both_sides_and_near_the_score_limit(table: tuple[int, int, int]) -> None:
    lost, gained, samples = table
    sides = proportion_upper(lost, samples, 0.975) - proportion_lower(gained, samples, 0.975)
    limit = score_upper(*table, 1.6449)
    assert limit < drop_upper(*table, 0.95) < sides
    assert drop_upper(*table, 0.95) < limit + 0.4 * (sides - limit)


def test_more_lost_raises_and_more_gained_lowers_the_bound() -> None:
    bounds = np.array([[drop_upper(b, c, 120, 0.95) for c in range(0, 20, 5)] for b in range(0, 20, 5)])
    assert (np.diff(bounds, axis=0) > 0).all()
    assert (np.diff(bounds, axis=1) < 0).all()


@pytest.mark.parametrize("samples", [6, 12])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_every_true_drop_is_covered_by_enumeration(samples: int, confidence: float) -> None:
    """All tables of a small n, summed for many truths: none is below its coverage."""
    tables = [(b, c) for b, c in itertools.product(range(samples + 1), repeat=2) if b + c <= samples]
    bounds = np.array([drop_upper(b, c, samples, confidence) for b, c in tables])
    counts = np.array([(b, c, samples - b - c) for b, c in tables])
    for losing, gaining in itertools.product(np.linspace(0.01, 0.9, 18), np.linspace(0, 0.6, 9)):
        if losing + gaining < 0.999:
            chances = multinomial.pmf(counts, samples, [losing, gaining, 1 - losing - gaining])
            assert chances[bounds < losing - gaining].sum() <= 1 - confidence + 1e-9


def test_a_finer_grid_of_the_nuisance_finds_no_greater_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = [PairedTest(b, c, n, 0.05) for b, c, n in [(3, 2, 200), (0, 0, 299), (12, 4, 1000), (60, 50, 1000)]]
    drops = [(each.limit + each.drop) / 2 for each in tests] + [each.limit for each in tests]
    coarse = [each.p_value(drop) for each, drop in zip(tests * 2, drops, strict=True)]
    monkeypatch.setattr(exact, "_GRID", 1500)
    fine = [each.p_value(drop) for each, drop in zip(tests * 2, drops, strict=True)]
    assert all(one >= other * (1 - 2e-5) for one, other in zip(coarse, fine, strict=True))


def test_the_score_is_zero_at_the_drop_seen_and_falls_with_the_drop_asked() -> None:
    lost, gained = np.array([30.0]), np.array([10.0])
    assert score(lost, gained, 1000, 0.02)[0] == pytest.approx(0)
    values = [float(score(lost, gained, 1000, drop)[0]) for drop in (0.0, 0.01, 0.03, 0.1)]
    assert values == sorted(values, reverse=True)
    # At no drop it is McNemar's.
    assert values[0] == pytest.approx((30 - 10) / np.sqrt(30 + 10))
