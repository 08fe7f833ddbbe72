import numpy as np
import pytest
from scipy.stats import bootstrap, gamma, t

from quanary.quantizer.certify.metrics import open_metric
from quanary.quantizer.certify.metrics.fits import DifferenceOfMeans, RelativeIncrease
from quanary.quantizer.certify.metrics.metric import Fit, Floats, Resampled, Row
from quanary.quantizer.certify.resample import (
    Units,
    bca_upper,
    gamma_upper,
    resamples_for,
    t_lower,
    t_upper,
    upper_bound,
)
from tests.quantizer.certify.samples import one_hot, sample, scores


def alone(count: int) -> Units:
    return Units.of([None] * count)


def rows_of(name: str, count: int) -> list[Row]:
    """Float is better than the artifact, with noise, on labels that both can miss."""
    draw, metric = np.random.default_rng(4), open_metric(name)
    rows = []
    for _ in range(count):
        label = int(draw.integers(0, 2))
        first, second = label + draw.normal(0, 0.6), label + draw.normal(0, 0.9)
        if name == "f1":
            rows.append(metric.observe(one_hot(2, int(first > 0.5)), one_hot(2, int(second > 0.5)), sample(label)))
        else:
            rows.append(metric.observe(scores([first]), scores([second]), sample(label)))
    return rows


def fit_of(name: str, rows: list[Row]) -> Fit:
    metric = open_metric(name)
    assert isinstance(metric, Resampled)
    return metric.fit(rows)


@pytest.mark.parametrize("name", ["f1", "f1_binary", "roc_auc", "mae", "rmse", "cosine"])
def test_influence_is_what_leaving_a_row_out_says(name: str) -> None:
    rows = rows_of(name, 400)
    influence, whole = fit_of(name, rows).influence, fit_of(name, rows).estimate.drop
    left_out = [(whole - fit_of(name, rows[:i] + rows[i + 1 :]).estimate.drop) * (len(rows) - 1) for i in range(40)]
    assert influence.mean() == pytest.approx(0, abs=1e-9)
    assert influence[:40] == pytest.approx(np.array(left_out), abs=0.05 * np.abs(influence).max())


@pytest.mark.parametrize("name", ["f1", "roc_auc", "mae", "rmse", "cosine"])
def test_a_resample_of_every_row_once_is_the_estimate(name: str) -> None:
    fit = fit_of(name, rows_of(name, 50))
    assert fit.drops(np.ones((2, 50))) == pytest.approx([fit.estimate.drop] * 2)


def test_the_bootstrap_bound_is_that_of_scipy() -> None:
    draw = np.random.default_rng(0)
    table = np.column_stack([draw.gamma(2, 1, 150), draw.gamma(2, 1.1, 150)])
    fit = RelativeIncrease(table, root=False)

    def increase(first: Floats, second: Floats, axis: int) -> Floats:
        return np.asarray(second.mean(axis=axis) / first.mean(axis=axis) - 1)

    expected = bootstrap(
        (table[:, 0], table[:, 1]),
        increase,
        paired=True,
        alternative="less",
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval.high
    ours = bca_upper(fit, alone(150), fit.influence / 150, 0.95)
    assert ours == pytest.approx(expected, abs=0.05 * (expected - fit.estimate.drop))


def test_the_t_bound_of_a_mean_is_students() -> None:
    values = np.random.default_rng(1).normal(0.1, 1, 12)
    fit = DifferenceOfMeans(np.column_stack([values, np.zeros(12), np.ones(12)]), sign=1)
    expected = values.mean() + t.ppf(0.95, 11) * values.std(ddof=1) / np.sqrt(12)
    assert t_upper(fit.estimate.drop, fit.influence / 12, 0.95) == pytest.approx(expected)
    assert t_lower(fit.estimate.drop, fit.influence / 12, 0.95) == pytest.approx(2 * values.mean() - expected)


def test_with_no_loss_seen_the_bound_is_the_rule_of_three() -> None:
    assert gamma_upper(np.zeros(1000), 1 / 1000, 0.95) == pytest.approx(-np.log(0.05) / 1000)


def test_equal_losses_are_bounded_as_poisson_counts() -> None:
    parts = np.zeros(1000)
    parts[:4] = 1 / 1000
    assert gamma_upper(parts, 1 / 1000, 0.95) == pytest.approx(gamma.ppf(0.95, 5) / 1000)
    parts[4:6] = -1 / 1000
    assert gamma_upper(parts, 1 / 1000, 0.95) == pytest.approx((gamma.ppf(0.95, 5) - 2) / 1000)


def test_the_same_rows_give_the_same_bound() -> None:
    first, second = (upper_bound(fit_of("roc_auc", rows_of("roc_auc", 80)), alone(80), 0.95, 1.0) for _ in range(2))
    assert first == second


def test_identical_answers_are_not_proof_of_no_drop() -> None:
    rows = [(1.0, 1.0, 10.0)] * 100
    assert upper_bound(DifferenceOfMeans(np.array(rows), sign=-1), alone(100), 0.95, 1.0) > 0.02


def test_groups_that_fail_together_widen_the_bound() -> None:
    wrong = np.zeros(600)
    wrong[:60] = 1
    fit = DifferenceOfMeans(np.column_stack([np.ones(600), 1 - wrong, np.ones(600)]), sign=1)
    together = Units(np.repeat(np.arange(60), 10), 60)
    spread = Units(np.tile(np.arange(60), 10), 60)
    bounds = [upper_bound(fit, each, 0.95, 1.0) for each in (spread, together)]
    assert bounds[0] < 0.15 < bounds[1]


def test_one_group_bounds_nothing() -> None:
    fit = DifferenceOfMeans(np.tile([1.0, 1.0, 1.0], (50, 1)), sign=1)
    assert upper_bound(fit, Units.of([b"a"] * 50), 0.95, 1.0) == 1


def test_a_sample_without_a_group_is_a_unit_of_its_own() -> None:
    units = Units.of([b"a", None, b"a", None])
    assert (units.count, units.of_sample.tolist(), units.largest) == (3, [0, 1, 0, 2], 0.5)


def test_more_confidence_takes_more_resamples() -> None:
    assert [resamples_for(each) for each in (0.9, 0.95, 0.98, 0.999, 0.999999)] == [4000, 4000, 10_000, 20_000, 20_000]


@pytest.mark.parametrize(("rate", "samples"), [(0.1, 150), (0.01, 300)])
def test_at_the_budget_few_pass_though_the_bound_is_approximate(rate: float, samples: int) -> None:
    """Words lost in a share of samples; 5 % may pass, and of 200 draws 9 % are three standard deviations."""
    draw, passed = np.random.default_rng(6), 0
    true = rate * 2 / 9
    for _ in range(200):
        words = draw.poisson(8, samples) + 1
        lost = (draw.random(samples) < rate) * np.minimum(draw.poisson(1, samples) + 1, words)
        fit = DifferenceOfMeans(np.column_stack([np.zeros(samples), lost, words]).astype(float), sign=-1)
        by_unit = fit.influence / samples
        bound = max(
            t_upper(fit.estimate.drop, by_unit, 0.95),
            gamma_upper(by_unit + fit.estimate.drop / samples, 1 / samples, 0.95),
        )
        passed += bound <= true
    assert passed <= 18
