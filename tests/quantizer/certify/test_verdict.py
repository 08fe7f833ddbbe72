import pytest

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.certify.verdict import judge, mismatch_gate, warnings_of
from quanary.wire.report import BatchFigures, BenefitFigures, Interval, SealedSignoff


def signoff(drop: float = 0.001, bound: float = 0.004, **changes: object) -> SealedSignoff:
    figures: dict[str, object] = {
        "metric": "accuracy",
        "float": 0.9,
        "int8": 0.9 - drop,
        "drop": drop,
        "drop_upper_bound": bound,
        "samples": 1000,
        "disagreement": 0.005,
        "disagreement_lower_bound": 0.002,
        "disagreement_upper_bound": 0.009,
        "confidence": 0.95,
        "max_drop": 0.01,
    }
    return SealedSignoff.model_validate(figures | changes)


def batch(size: int, low: float, high: float) -> BatchFigures:
    return BatchFigures(
        batch=size,
        float_seconds=1,
        int8_seconds=1,
        ratio=(low + high) / 2,
        interval=Interval(low=low, high=high),
        wall_ratio=1,
        block_ratios=(),
    )


def figures(low: float, high: float, size_ratio: float = 0.9) -> BenefitFigures:
    """Batch 8 says the opposite: it must not be asked."""
    return BenefitFigures(
        latency_ratio=(low + high) / 2,
        batches=(batch(8, 3 - low, 3 - low), batch(1, low, high)),
        size_ratio=size_ratio,
        memory_ratio=1,
        cpu_seconds_float=1,
        cpu_seconds_int8=1,
        threads=1,
        blocks=15,
        looks=3,
        min_speedup=1.1,
        min_size_reduction=0.25,
    )


@pytest.mark.parametrize(
    ("low", "high", "size_ratio", "verdict"),
    [
        (1.1, 2.0, 0.9, Verdict.BENEFICIAL),
        (1.1, 2.0, 0.3, Verdict.BENEFICIAL),
        (1.09, 1.1, 0.9, Verdict.INCONCLUSIVE),
        (0.5, 1.5, 0.3, Verdict.INCONCLUSIVE),
        (0.5, 1.09, 0.75, Verdict.SIZE_ONLY),
        (0.5, 1.09, 0.76, Verdict.NOT_BENEFICIAL),
    ],
)
def test_benefit_is_three_way_and_size_counts_only_where_speed_is_lacking(
    low: float, high: float, size_ratio: float, verdict: Verdict
) -> None:
    assert judge(signoff(), figures(low, high, size_ratio))[0] == verdict


@pytest.mark.parametrize("speed", [0.5, 3.0])
@pytest.mark.parametrize(
    ("drop", "bound", "verdict"),
    [
        (0.011, 0.02, Verdict.OVER_BUDGET),
        (0.01, 0.02, Verdict.NOT_CERTIFIABLE),
        (-0.01, 0.011, Verdict.NOT_CERTIFIABLE),
    ],
)
def test_what_is_not_certified_is_not_judged_by_its_benefit(
    drop: float, bound: float, verdict: Verdict, speed: float
) -> None:
    assert judge(signoff(drop, bound), figures(speed, speed))[0] == verdict
    assert judge(signoff(drop, bound), None)[0] == verdict


def test_a_bound_at_the_budget_is_within_it() -> None:
    assert judge(signoff(0.0, 0.01), figures(2, 3))[0] == Verdict.BENEFICIAL


def test_a_certified_artifact_must_have_been_measured() -> None:
    with pytest.raises(ValueError, match="nobody measured"):
        judge(signoff(), None)
    lacking = figures(2, 3).model_copy(update={"batches": (batch(8, 2, 3),)})
    with pytest.raises(ValueError, match="without batch 1"):
        judge(signoff(), lacking)


def test_a_verdict_for_want_of_samples_says_how_many() -> None:
    because = judge(signoff(0.0, 0.02, samples_needed=1946), None)[1]
    assert because.endswith("about 1946 samples are needed")
    assert "no number of samples would do" in judge(signoff(0.01, 0.02), None)[1]


def test_a_worn_seal_asks_for_fresh_data() -> None:
    because = judge(signoff(0.0, 0.02, samples_needed=500, opening=3), None)[1]
    assert "bring fresh data: this was opening 3 of the seal" in because
    assert "about 500 samples are needed of those" in because


def test_the_sentence_holds_the_figures() -> None:
    because = judge(signoff(0.001, 0.004, groups=77), figures(1.5, 1.7))[1]
    expected = "accuracy drops by 0.0010 (at most 0.0040 with confidence 0.95) on 1000 sealed samples in 77 groups"
    assert because.startswith(expected)
    assert "1.60 times as fast as float on this CPU (1.50 to 1.70); 1.1 is asked for" in because


@pytest.mark.parametrize(("upper", "gate"), [(0.005, 0.02), (0.01, 0.02), (0.03, 0.06), (0.9, 0.5)])
def test_the_default_gate_is_twice_what_sealed_data_bound_between_two_and_fifty_percent(
    upper: float, gate: float
) -> None:
    assert mismatch_gate(signoff(disagreement_upper_bound=upper)) == gate


def test_a_person_is_told_of_a_wide_gate_and_of_few_independent_samples() -> None:
    assert warnings_of(signoff()) == ()
    wide, few = warnings_of(signoff(disagreement_upper_bound=0.03, groups=12))
    assert "a mismatch gate below 0.0600" in wide
    assert "only 12 independent sealed groups" in few
