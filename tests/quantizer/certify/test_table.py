import math

import numpy as np
import pytest

from quanary.quantizer.certify import Metric, SealedTable, confidence_of, open_metric
from quanary.quantizer.certify.exact import drop_upper, proportion_lower, proportion_upper
from quanary.quantizer.certify.planning import paired_samples, proportion_samples
from quanary.wire.report import RefusedError
from tests.quantizer.certify.samples import one_hot, sample, scores


def table(metric: Metric, *counts: tuple[int, int, int, int], groups: int = 0) -> SealedTable:
    """Counts of (float's answer, the artifact's, label, how many samples); `groups` share the samples in turn."""
    made = SealedTable(metric)
    for first, second, label, count in counts:
        for _ in range(count):
            index = len(made.rows)
            group = str(index % groups).encode() if groups else None
            made.add(one_hot(4, first), one_hot(4, second), sample(label, group, index))
    return made


def accuracy(samples: int, lost: int, gained: int, *, groups: int = 0) -> SealedTable:
    right = samples - lost - gained - 5
    return table(
        open_metric("accuracy"), (1, 2, 1, lost), (2, 1, 1, gained), (1, 1, 1, right), (2, 3, 1, 5), groups=groups
    )


def test_the_figures_are_those_of_the_table() -> None:
    signoff = accuracy(200, 6, 2).sign_off(0.1, 0.95)
    assert (signoff.metric, signoff.samples, signoff.lost, signoff.gained) == ("accuracy", 200, 6, 2)
    assert signoff.float_ == pytest.approx(193 / 200)
    assert signoff.int8 == pytest.approx(189 / 200)
    assert signoff.drop == pytest.approx(0.02)
    assert signoff.drop_upper_bound == drop_upper(6, 2, 200, 0.95)
    assert signoff.interval.startswith("exact unconditional")
    assert (signoff.confidence, signoff.max_drop, signoff.opening, signoff.groups) == (0.95, 0.1, 1, 0)
    assert signoff.samples_needed is None


def test_disagreement_is_of_answers_whatever_the_metric_and_bounded_on_both_sides() -> None:
    signoff = accuracy(200, 6, 2).sign_off(0.1, 0.95)
    assert signoff.disagreement == pytest.approx(13 / 200)
    assert signoff.disagreement_upper_bound == pytest.approx(proportion_upper(13, 200, 0.95))
    assert signoff.disagreement_lower_bound == pytest.approx(proportion_lower(13, 200, 0.95))


def test_agreement_is_bounded_as_one_proportion() -> None:
    signoff = table(open_metric("agreement"), (1, 1, 0, 297), (1, 2, 0, 3)).sign_off(0.05, 0.95)
    assert signoff.drop_upper_bound == pytest.approx(proportion_upper(3, 300, 0.95))
    assert signoff.interval == "exact (Clopper and Pearson, 1934)"
    assert signoff.drop_upper_bound == pytest.approx(signoff.disagreement_upper_bound)


@pytest.mark.parametrize(("opening", "confidence"), [(1, 0.95), (2, 1 - 0.05 / 6), (10, 1 - 0.05 / 110)])
def test_a_later_opening_is_judged_at_less_error(opening: int, confidence: float) -> None:
    assert confidence_of(0.95, opening) == pytest.approx(confidence)
    signoff = accuracy(500, 3, 1).sign_off(0.5, 0.95, opening)
    assert signoff.opening == opening
    assert signoff.confidence == pytest.approx(confidence)
    assert signoff.drop_upper_bound == drop_upper(3, 1, 500, signoff.confidence)


def test_what_lacks_samples_is_told_how_many_fresh_ones_would_do() -> None:
    lacking = accuracy(150, 1, 1)
    expected = paired_samples(0.01, 1 / 150, 0.02, 0.95)
    assert lacking.sign_off(0.02, 0.95).samples_needed == expected
    assert lacking.sign_off(0.02, 0.95, opening=4).samples_needed == expected
    agreeing = table(open_metric("agreement"), (1, 1, 0, 100))
    assert agreeing.sign_off(0.01, 0.95).samples_needed == proportion_samples(0.005, 0.01, 0.95)


def test_what_is_over_budget_or_certified_lacks_nothing() -> None:
    assert accuracy(300, 9, 0).sign_off(0.02, 0.95).samples_needed is None
    assert accuracy(3000, 1, 1).sign_off(0.02, 0.95).samples_needed is None


def test_groups_never_tighten_a_bound_and_are_counted() -> None:
    alone, grouped = accuracy(300, 6, 2), accuracy(300, 6, 2, groups=40)
    first, second = alone.sign_off(0.5, 0.95), grouped.sign_off(0.5, 0.95)
    assert second.groups == 40
    assert second.drop_upper_bound >= first.drop_upper_bound
    assert second.disagreement_upper_bound >= first.disagreement_upper_bound
    assert second.disagreement_lower_bound <= first.disagreement_lower_bound
    assert "over 40 groups" in second.interval
    assert "are few" not in second.interval


def test_few_groups_are_named_and_ask_for_more_samples() -> None:
    lacking, alone = accuracy(150, 1, 1, groups=10).sign_off(0.02, 0.95), accuracy(150, 1, 1).sign_off(0.02, 0.95)
    assert "10 groups are few" in lacking.interval
    assert lacking.samples_needed is not None
    assert alone.samples_needed is not None
    assert lacking.samples_needed > alone.samples_needed


def test_a_resampled_metric_is_signed_off_with_its_method() -> None:
    draw, made = np.random.default_rng(0), SealedTable(open_metric("cosine"))
    for index in range(60):
        vector = draw.normal(size=8)
        made.add(scores(list(vector)), scores(list(vector + draw.normal(0, 0.05, 8))), sample(index=index))
    signoff = made.sign_off(0.01, 0.95)
    assert signoff.float_ == 1
    assert 0 < signoff.drop < signoff.drop_upper_bound < 0.01
    assert signoff.interval.startswith("approximate: the largest of a BCa bootstrap")
    assert "over 60 samples; below 500 it errs up to twice as often as allowed" in signoff.interval
    assert (signoff.lost, signoff.gained) == (0, 0)
    tight = made.sign_off(signoff.drop * 1.01, 0.95)
    assert tight.samples_needed is not None
    assert tight.samples_needed > 60


def test_no_sealed_samples_certify_nothing() -> None:
    with pytest.raises(RefusedError, match="no sealed samples"):
        SealedTable(open_metric("agreement")).sign_off(0.01, 0.95)


def test_a_metric_that_the_samples_do_not_define_is_refused() -> None:
    made = SealedTable(open_metric("roc_auc"))
    made.add(scores([0.9]), scores([0.9]), sample(1))
    assert math.isnan(made.metric.estimate(made.rows).drop)
    with pytest.raises(RefusedError, match="roc_auc, which these 1 samples do not define"):
        made.sign_off(0.01, 0.95)
