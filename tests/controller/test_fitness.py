"""What `benefit`, `gates` and sealed data say of an artifact."""

import pytest

from quanary.api.v1alpha1 import Verdict
from quanary.controller.fitness import disagreement, drift_gate, is_accepted, mismatch_gate, range_gate, warning
from tests.controller.scenes import artifact, disagreeing, spec

CERTIFIED = {Verdict.NOT_BENEFICIAL, Verdict.SIZE_ONLY, Verdict.INCONCLUSIVE, Verdict.BENEFICIAL}


@pytest.mark.parametrize(
    ("benefit", "accepted"),
    [
        ({}, {Verdict.BENEFICIAL}),
        ({"accept": ["SizeOnly"]}, {Verdict.BENEFICIAL, Verdict.SIZE_ONLY}),
        ({"accept": ["Inconclusive", "SizeOnly"]}, CERTIFIED - {Verdict.NOT_BENEFICIAL}),
        ({"required": False}, CERTIFIED),
    ],
)
def test_accepted_verdicts_are_those_that_benefit_allows(benefit: dict[str, object], accepted: set[Verdict]) -> None:
    wanted = spec(benefit=benefit)
    assert {each for each in Verdict if is_accepted(wanted, artifact(verdict=each))} == accepted


@pytest.mark.parametrize(
    ("bound", "gate"),
    [(0.0, 0.02), (0.004, 0.02), (0.01, 0.02), (0.03, 0.06), (0.25, 0.5), (0.9, 0.5)],
)
def test_the_default_gate_is_twice_the_sealed_bound_within_reason(bound: float, gate: float) -> None:
    assert mismatch_gate(spec(), disagreeing(0.0, bound)) == pytest.approx(gate)


def test_the_gate_is_what_the_user_says() -> None:
    assert mismatch_gate(spec(gates={"mismatch": 0.3}), disagreeing(0.0, 0.001)) == 0.3


@pytest.mark.parametrize(("budget", "gate"), [(0.0, 0.0), (0.023, 0.023), (1.0, 0.9)])
def test_the_range_gate_is_the_budget_of_the_artifact(budget: float, gate: float) -> None:
    assert range_gate(spec(), artifact(out_of_range_budget=budget)) == gate


def test_a_user_may_set_the_gates_of_the_inputs() -> None:
    wanted = spec(gates={"inputRange": 0.4, "inputDrift": 0.99})
    assert range_gate(wanted, artifact()) == range_gate(wanted, artifact(out_of_range_budget=0.02)) == 0.4
    assert drift_gate(wanted, artifact(out_of_range_budget=0.02)) == 0.99


def test_without_a_baseline_nothing_can_drift() -> None:
    assert drift_gate(spec(), artifact()) == 0
    assert drift_gate(spec(), artifact(out_of_range_budget=0.02)) == 0.05


def test_only_a_proven_disagreement_rejects() -> None:
    tight = spec(gates={"mismatch": 0.05})
    assert disagreement(tight, disagreeing(0.05, 0.2)) == ""
    assert "at least 5.10%" in disagreement(tight, disagreeing(0.051, 0.2))
    assert disagreement(tight, artifact()) == "", "without a sign-off nothing is proven"


def test_answers_that_differ_almost_always_reject_without_a_gate_too() -> None:
    assert "the default mismatch gate allows 50.00%" in disagreement(spec(), disagreeing(0.8, 0.9))


def test_a_warning_comes_from_half_the_gate_on() -> None:
    assert warning(spec(gates={"mismatch": 0.05}), disagreeing(0.0, 0.025)) == ""
    assert "gates.mismatch is 5.00%" in warning(spec(gates={"mismatch": 0.05}), disagreeing(0.0, 0.026))
    assert warning(spec(), disagreeing(0.0, 0.04)) == "", "the default gate leaves room enough"
