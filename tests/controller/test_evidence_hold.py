"""Gates of the inputs: they hold on evidence, end by themselves, condemn nothing, and come through a restart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quanary.controller.evidence import Evidence, GateReading, Proof, Scrape
from quanary.controller.evidence.schedule import DAY_SECONDS
from quanary.wire.metrics import (
    ESCALATED,
    ESCALATIONS_REFUSED,
    GATE_COUNTERS,
    INPUT_WINDOWS,
    INPUT_WINDOWS_DRIFTED,
    INPUTS_CHECKED,
    INPUTS_OUT_OF_RANGE,
    REQUESTS,
)
from tests.controller.simulation import POLICY, START, Share, input_history

PAIR = "ffffffffff/aaaaaaaaaa"
WATCHED = replace(POLICY, input_range=0.025, input_drift=0.05)
TICK = int(POLICY.tick_seconds)
OF_BEFORE = Path(__file__).parent / "checkpoints/before-input-gates.json"


def constant(share: float) -> Share:
    return lambda _: share


def between(begin: float, end: float, share: float) -> Share:
    """That share from `begin` to `end`, in seconds, and nothing bad before and after."""
    return lambda second: share if begin < second <= end else 0.0


def turns(proof: Proof, history: Iterator[Scrape]) -> list[tuple[float, tuple[str, ...]]]:
    """When what holds changed, in seconds, and to which gates."""
    found: list[tuple[float, tuple[str, ...]]] = [(0.0, ())]
    for scrape in history:
        proof.advance([scrape])
        holding = tuple(each.name for each in proof.read(scrape.at).holding)
        if holding != found[-1][1]:
            found.append((scrape.at - START, holding))
    return found[1:]


def gate(evidence: Evidence, name: str) -> GateReading:
    return next(each for each in evidence.gates if each.name == name)


def test_both_gates_are_read_and_calm_inputs_hold_nothing() -> None:
    proof = Proof(PAIR, WATCHED, START)
    assert turns(proof, input_history(constant(0.008), constant(0.01), seconds=4 * 3600)) == []
    evidence = proof.read(START + 4 * 3600)
    assert [each.name for each in evidence.gates] == ["mismatch", "errors", "latency", "input-range", "input-drift"]
    ranged, drift = gate(evidence, "input-range"), gate(evidence, "input-drift")
    assert (ranged.samples > 100_000, drift.samples) == (True, 480)
    assert (ranged.budget, drift.budget) == (0.025, 0.05)
    assert 0.006 < ranged.bad / ranged.samples < 0.01


def test_requests_out_of_range_hold_within_a_minute_and_not_for_ever() -> None:
    began, ended = 3600, 7200
    found = turns(
        Proof(PAIR, WATCHED, START), input_history(between(began, ended, 0.5), constant(0.01), seconds=4 * 3600)
    )
    assert [holding for _, holding in found] == [("input-range",), ()]
    (held, _), (cleared, _) = found
    assert began < held <= began + 60
    assert ended + 300 < cleared <= ended + 1800, "neither at once nor after hours"


def test_drifted_windows_hold_after_some_and_not_for_ever() -> None:
    began, ended, every = 3600, 7200, 30
    history = input_history(constant(0.008), between(began, ended, 1.0), seconds=5 * 3600, every=every)
    (held, gates), (cleared, none) = turns(Proof(PAIR, WATCHED, START), history)
    assert (gates, none) == (("input-drift",), ())
    assert began + 3 * every < held <= began + 8 * every
    assert ended + 50 * every < cleared <= ended + 90 * every


def test_a_hold_goes_on_while_the_inputs_are_strange() -> None:
    found = turns(Proof(PAIR, WATCHED, START), input_history(constant(0.05), constant(0.2), seconds=6 * 3600))
    assert found[-1][1] == ("input-range", "input-drift")
    assert len(found) == 2, "begun once each"


def test_a_gap_without_requests_ends_nothing() -> None:
    proof = Proof(PAIR, WATCHED, START)
    proof.advance(input_history(constant(0.5), constant(0.0), seconds=600))
    last = gate(proof.read(START + 600), "input-range")
    assert last.holds
    proof.advance(Scrape(START + 600 + second, "int8-0", "int8", {}) for second in range(5, 7200, 5))
    assert gate(proof.read(START + 7800), "input-range").holds


def test_what_ends_a_hold_is_told_on_the_way() -> None:
    proof = Proof(PAIR, WATCHED, START)
    proof.advance(input_history(between(0, 600, 0.5), constant(0.0), seconds=900))
    ranged = gate(proof.read(START + 900), "input-range")
    assert ranged.holds
    assert 0 < ranged.safety_evidence < 1
    assert ranged.rollback_evidence == 0


def test_nothing_of_the_inputs_condemns_or_proves() -> None:
    proof = Proof(PAIR, WATCHED, START)
    proof.advance(input_history(constant(1.0), constant(1.0), seconds=3600))
    evidence = proof.read(START + 3600)
    assert len(evidence.holding) == 2
    assert (evidence.condemned_by, evidence.retreat_by, evidence.suspicious, evidence.proven) == ("", "", False, False)


def test_at_exactly_the_budget_few_days_hold() -> None:
    """P(a hold in a day) is at most alpha times the mass of a day for each gate: 2 % at the very most for both."""
    held = 0
    for day in range(8):
        history = input_history(constant(0.025), constant(0.05), seconds=DAY_SECONDS / 4, seed=100 + day)
        proof = Proof(PAIR, WATCHED, START)
        proof.advance(history)
        held += bool(proof.read(START + DAY_SECONDS / 4).holding)
    assert held <= 1


@pytest.mark.parametrize("stop", [1800, 3630, 4000, 7500])
def test_a_restart_changes_nothing(stop: float) -> None:
    history = list(input_history(between(3600, 7200, 0.5), between(3600, 7200, 1.0), seconds=9000))
    never, before = Proof(PAIR, WATCHED, START), Proof(PAIR, WATCHED, START)
    never.advance(history)
    before.advance(each for each in history if each.at <= START + stop)
    after = Proof.restored(PAIR, WATCHED, before.checkpoint())
    after.advance(each for each in history if each.at > START + stop - 60)
    assert after.checkpoint() == never.checkpoint()
    assert after.read(START + 9000) == never.read(START + 9000)


def test_a_checkpoint_of_before_these_gates_loses_nothing() -> None:
    text = OF_BEFORE.read_text()
    policy = replace(WATCHED, mismatch=0.1, tick_seconds=2.0)
    evidence = Proof.restored(PAIR, policy, text).read(START + 299)
    assert evidence.proven
    assert gate(evidence, "mismatch").samples == 5960
    assert gate(evidence, "errors").samples == 5960
    assert gate(evidence, "input-range") == GateReading("input-range", 0, 0, 0.025, 0.0, 0.0)
    without = Proof.restored(PAIR, replace(policy, input_range=0.0, input_drift=0.0), text)
    assert without.read(START + 299).proven


def test_a_checkpoint_stays_small_with_everything_in_it() -> None:
    policy = replace(WATCHED, steps=20, divergence="kullback-leibler of probabilities_logits, limit 0.01")
    policy = replace(policy, served="0123456789", unsure="0123456789", escalation=0.1)
    proof = Proof(PAIR, policy, START)
    proof.advance(input_history(constant(0.3), constant(0.7), seconds=900))
    for day in range(5):
        for step in range(20):
            proof.weight_changed(START + 1000.123 + day * DAY_SECONDS + 60.456 * step, raised=True)
    for watch in proof.watches.values():
        watch.samples, watch.bad, watch.pending = 10**12, 10**11, [10**7] * 4
        watch.breach.masses = [1.2345678901234567e-12] * 4
    text = proof.checkpoint()
    assert 3000 < len(text.encode()) < 8192
    assert Proof.restored(PAIR, policy, text).checkpoint() == text


def test_a_gate_that_comes_or_goes_leaves_the_others_alone() -> None:
    proof = Proof(PAIR, replace(WATCHED, input_drift=0.0), START)
    proof.advance(input_history(constant(0.5), constant(1.0), seconds=600))
    ranged = gate(proof.read(START + 600), "input-range")
    proof.revise(WATCHED)
    assert gate(proof.read(START + 600), "input-range") == ranged
    assert gate(proof.read(START + 600), "input-drift").samples == 0
    proof.revise(replace(WATCHED, input_range=0.0))
    assert [each.name for each in proof.read(START + 600).gates][3:] == ["input-drift"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_another_budget_ends_no_hold_but_samples_within_it_do(*, is_restarted: bool) -> None:
    history = list(input_history(constant(0.3), constant(0.0), seconds=1200))
    wider = replace(WATCHED, input_range=0.5)
    proof = Proof(PAIR, WATCHED, START)
    proof.advance(each for each in history if each.at <= START + 600)
    assert proof.read(START + 600).holding
    if is_restarted:
        proof = Proof.restored(PAIR, wider, proof.checkpoint())
    else:
        proof.revise(wider)
    ranged = gate(proof.read(START + 600), "input-range")
    assert (ranged.holds, ranged.samples) == (True, 0)
    proof.advance(each for each in history if each.at > START + 590)
    assert proof.read(START + 1200).holding == ()


def test_the_counters_are_among_those_that_are_read() -> None:
    assert {INPUTS_CHECKED, INPUTS_OUT_OF_RANGE, INPUT_WINDOWS, INPUT_WINDOWS_DRIFTED} <= set(GATE_COUNTERS)


@pytest.mark.parametrize("name", ["input_range", "input_drift"])
@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_an_impossible_budget_is_refused(name: str, value: float) -> None:
    ranged, drift = (value, 0.0) if name == "input_range" else (0.0, value)
    with pytest.raises(ValueError, match=f"{name}: found"):
        replace(POLICY, input_range=ranged, input_drift=drift)


def test_answers_that_int8_is_unsure_of_hold_whether_they_were_escalated_or_not() -> None:
    """Ten in a hundred may be escalated; thirty are unsure, of which float takes ten."""
    proof = Proof(PAIR, replace(POLICY, escalation=0.1), START)
    counters = dict.fromkeys((REQUESTS, ESCALATED, ESCALATIONS_REFUSED), 0)
    held = []
    for second in range(0, 1801, 5):
        unsure = 30 if second > 900 else 5
        counters[REQUESTS] += 100
        counters[ESCALATED] += min(unsure, 10)
        counters[ESCALATIONS_REFUSED] += max(0, unsure - 10)
        proof.advance([Scrape(START + second, "int8-0", "int8", dict(counters))])
        held.append(gate(proof.read(START + second), "escalation").holds)
    assert held.index(True) * 5 in range(905, 1200)
    evidence = proof.read(START + 1800)
    assert [each.name for each in evidence.holding] == ["escalation"]
    assert (evidence.condemned_by, evidence.retreat_by) == ("", "")


def test_without_escalation_there_is_no_such_gate() -> None:
    assert "escalation" not in [each.name for each in Proof(PAIR, WATCHED, START).read(START).gates]
