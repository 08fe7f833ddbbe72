"""The proof of one pair: what it says of traffic, and that neither splits of a history nor restarts change it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.controller.evidence import Evidence, GateReading, Policy, Proof, Scrape
from quanary.controller.evidence.gates import FAST
from quanary.controller.evidence.schedule import DAY_SECONDS
from quanary.wire.metrics import ERRORS, REQUESTS
from tests.controller.simulation import POLICY, START, Rates, history, pair_history

PAIR = "ffffffffff/aaaaaaaaaa"
# Two-second ticks and a wide budget: a proof in about two minutes.
QUICK = replace(POLICY, mismatch=0.1, tick_seconds=2.0)
LAW = settings(deadline=None, derandomize=True)
BUSY = Rates(requests=20, compared=20)
MIXED = Rates(requests=5, errors=0.01, over_budget=0.01, compared=4, mismatched=0.02, dropped=0.3)


def constant(rates: Rates) -> Callable[[float], Rates]:
    return lambda _: rates


def turning(good: Rates, bad: Rates, at: float, until: float = float("inf")) -> Callable[[float], Rates]:
    return lambda second: bad if at < second <= until else good


def watched(
    rates: Callable[[float], Rates], *, seconds: int = 60, policy: Policy = POLICY, seed: int = 7
) -> tuple[Proof, Evidence]:
    proof = Proof(PAIR, policy, START)
    proof.advance(pair_history(rates, seconds=seconds, seed=seed))
    return proof, proof.read(START + seconds)


def gate(evidence: Evidence, name: str) -> GateReading:
    return next(each for each in evidence.gates if each.name == name)


def state(proof: Proof) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(proof.checkpoint())
    return parsed


def test_good_traffic_is_proven_and_stays_clean() -> None:
    _, evidence = watched(constant(BUSY), seconds=180, policy=QUICK)
    assert evidence.proven
    assert evidence.safe_now
    assert evidence.fresh_safe
    assert (evidence.condemned_by, evidence.retreat_by, evidence.suspicious) == ("", "", False)
    assert gate(evidence, "mismatch").safety_evidence == 1
    assert gate(evidence, "mismatch").rollback_evidence == 0
    assert [each.name for each in evidence.gates] == ["mismatch", "errors", "latency"]


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (replace(BUSY, mismatched=0.5), "mismatch"),
        (replace(BUSY, errors=0.5), "errors"),
        (replace(BUSY, over_budget=0.5), "latency"),
    ],
    ids=["mismatch", "errors", "latency"],
)
def test_a_bad_artifact_is_condemned_by_the_gate_that_saw_it(bad: Rates, name: str) -> None:
    _, evidence = watched(constant(bad), seconds=180)
    assert evidence.condemned_by == name
    assert evidence.suspicious
    assert gate(evidence, name).rollback_evidence > 0.9
    assert gate(evidence, name).bad / gate(evidence, name).samples == pytest.approx(0.5, abs=0.1)


def test_condemnation_is_remembered_after_the_traffic_has_gone() -> None:
    proof, _ = watched(turning(BUSY, replace(BUSY, errors=1.0), at=20, until=40), seconds=300)
    assert proof.read(START + 300).condemned_by == "errors"


def test_mismatches_seen_by_float_pods_count_as_well() -> None:
    proof = Proof(PAIR, POLICY, START)
    bad = constant(replace(BUSY, requests=0, mismatched=0.5))
    proof.advance(history("float-0", "float", 60, bad, seed=1))
    assert proof.read(START + 60).condemned_by == "mismatch"


def test_repeated_inputs_alone_never_prove_anything() -> None:
    # Every pair was of one input, compared again and again: nothing distinct was seen.
    proof = Proof(PAIR, QUICK, START)
    proof.advance(history("int8-0", "int8", 400, constant(replace(BUSY, distinct=0.0)), seed=1))
    evidence = proof.read(START + 400)
    assert gate(evidence, "mismatch").samples > 1000
    assert not evidence.proven


def test_float_errors_say_nothing_of_int8() -> None:
    proof = Proof(PAIR, POLICY, START)
    proof.advance(history("float-0", "float", 60, constant(replace(BUSY, errors=1.0)), seed=1))
    assert gate(proof.read(START + 60), "errors") == GateReading("errors", 0, 0, 0.001, 0.0, 0.0)


def test_a_slow_float_excuses_a_slow_int8() -> None:
    proof = Proof(PAIR, POLICY, START)
    slow = constant(replace(BUSY, over_budget=0.5))
    proof.advance([*history("float-0", "float", 400, slow, seed=1), *history("int8-0", "int8", 400, slow, seed=2)])
    evidence = proof.read(START + 400)
    assert evidence.float_slow
    assert evidence.condemned_by == ""
    assert gate(evidence, "latency").rollback_evidence == 0


def test_errors_retreat_first_and_a_new_weight_begins_clean() -> None:
    proof, evidence = watched(turning(BUSY, replace(BUSY, errors=0.5), at=40, until=43), seconds=60)
    assert evidence.retreat_by == "errors"
    proof.weight_changed(START + 60, raised=False)
    assert proof.read(START + 60).retreat_by == ""


def test_a_retreat_spends_its_mass() -> None:
    proof, _ = watched(turning(BUSY, replace(BUSY, errors=0.5), at=40, until=43), seconds=60)
    assert proof.watches[FAST].breach.value < 0.01


def test_fresh_safety_begins_at_the_newest_weight_change() -> None:
    proof = Proof(PAIR, QUICK, START)
    turns_bad = turning(BUSY, replace(BUSY, mismatched=0.15), at=200)
    scrapes = pair_history(turns_bad, seconds=240, seed=3)
    proof.advance(each for each in scrapes if each.at <= START + 200)
    proof.weight_changed(START + 200, raised=True)
    assert proof.read(START + 200).fresh_safe
    proof.advance(scrapes)
    evidence = proof.read(START + 240)
    assert evidence.proven
    assert not evidence.fresh_safe


def test_a_proof_notices_that_the_present_is_bad() -> None:
    _, evidence = watched(turning(BUSY, replace(BUSY, mismatched=0.15), at=4000), seconds=4400, policy=QUICK)
    assert evidence.proven
    assert not evidence.safe_now


def test_without_traffic_nothing_moves() -> None:
    proof = Proof(PAIR, POLICY, START)
    proof.advance(history("int8-0", "int8", 600, constant(Rates(requests=0, compared=0)), seed=1))
    evidence = proof.read(START + 600)
    assert all(each.samples == 0 and each.rollback_evidence == 0 for each in evidence.gates)
    assert not evidence.proven
    assert not evidence.int8_silent


def test_silence_is_told_by_variant() -> None:
    proof = Proof(PAIR, POLICY, START)
    proof.advance(
        [
            *history("float-0", "float", 60, constant(BUSY), seed=1),
            *history("int8-0", "int8", 40, constant(BUSY), seed=2),
        ]
    )
    evidence = proof.read(START + 60)
    assert evidence.int8_silent
    assert not evidence.float_silent
    assert proof.read(START + 70).float_silent


def test_dropped_comparisons_of_late_are_told() -> None:
    _, evidence = watched(turning(BUSY, replace(BUSY, compared=5, dropped=15), at=120), seconds=300)
    # 25 comparisons a second with those of float's pod are lost or done, 15 of them lost.
    assert evidence.dropped_ratio == pytest.approx(15 / 22, abs=0.05)


def test_distinct_comparisons_are_counted() -> None:
    proof, evidence = watched(constant(replace(BUSY, distinct=0.5)))
    assert evidence.compared_distinct == proof.watches["mismatch-distinct"].samples
    assert 300 < evidence.compared_distinct < gate(evidence, "mismatch").samples


@settings(LAW, max_examples=25)
@given(cuts=st.lists(st.integers(0, 240), max_size=12), seed=st.integers(0, 100))
def test_any_split_of_a_history_gives_the_same_state(cuts: list[int], seed: int) -> None:
    scrapes = pair_history(constant(MIXED), seconds=120, seed=seed)
    whole, parts = Proof(PAIR, POLICY, START), Proof(PAIR, POLICY, START)
    whole.advance(scrapes)
    for cut in (*sorted(cuts), len(scrapes)):
        parts.advance(scrapes[:cut])
    assert state(parts) == state(whole)


@settings(LAW, max_examples=25)
@given(lags=st.lists(st.floats(0, 1.9), min_size=2, max_size=2), seed=st.integers(0, 100))
def test_pods_whose_samples_come_late_change_nothing(lags: list[float], seed: int) -> None:
    scrapes = pair_history(constant(MIXED), seconds=60, seed=seed)
    whole, live = Proof(PAIR, POLICY, START), Proof(PAIR, POLICY, START)
    whole.advance(scrapes)
    lag = dict(zip(("float-0", "int8-0"), lags, strict=True))
    for second in range(64):
        live.advance(each for each in scrapes if each.at + lag[each.pod] <= START + second)
    assert state(live) == state(whole)


@settings(LAW, max_examples=20)
@given(stop=st.integers(5, 110), back=st.integers(5, 90), seed=st.integers(0, 100))
def test_a_restart_is_as_if_it_never_stopped(stop: int, back: int, seed: int) -> None:
    scrapes = pair_history(constant(MIXED), seconds=120, seed=seed)
    never, before = Proof(PAIR, POLICY, START), Proof(PAIR, POLICY, START)
    for proof in (never, before):
        proof.weight_changed(START + 3, raised=True)
    never.advance(scrapes)
    before.advance(each for each in scrapes if each.at <= START + stop)
    after = Proof.restored(PAIR, POLICY, before.checkpoint())
    after.advance(each for each in scrapes if each.at > START + stop - 5 - back)
    assert state(after) == state(never)
    assert after.read(START + 120) == never.read(START + 120)


def test_a_checkpoint_stays_small_at_its_limit() -> None:
    policy = replace(POLICY, steps=20)
    proof, _ = watched(constant(MIXED), seconds=900, policy=policy)
    for day in range(5):
        for step in range(20):
            proof.weight_changed(START + 1000.123 + day * DAY_SECONDS + 60.456 * step, raised=True)
    for watch in proof.watches.values():
        watch.samples, watch.bad, watch.pending = 10**12, 10**11, [10**7] * 4
    text = proof.checkpoint()
    assert 1000 < len(text.encode()) < 4096
    assert Proof.restored(PAIR, policy, text).checkpoint() == text


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version":1}', "null", "\x00", '{"version":2}'],
)
def test_a_damaged_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Checkpoint"):
        Proof.restored(PAIR, POLICY, text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1.0", '"x"'])
def test_a_checkpoint_with_impossible_numbers_is_refused(value: str) -> None:
    parsed = state(Proof(PAIR, POLICY, START))
    text = json.dumps(parsed).replace(f'"at": {parsed["at"]}', f'"at": {value}')
    assert value in text
    with pytest.raises(ValueError, match="at"):
        Proof.restored(PAIR, POLICY, text)


def test_a_checkpoint_of_another_pair_is_refused() -> None:
    text = Proof(PAIR, POLICY, START).checkpoint()
    with pytest.raises(ValueError, match="ffffffffff/bbbbbbbbbb"):
        Proof.restored("ffffffffff/bbbbbbbbbb", POLICY, text)


def test_a_hole_in_the_samples_keeps_breach_and_takes_the_gain_of_safety() -> None:
    proof, before = watched(constant(replace(BUSY, errors=0.004)), seconds=180, policy=QUICK)
    masses = {name: watch.breach.value for name, watch in proof.watches.items()}
    assert before.safe_now
    proof.advance(history("int8-0", "int8", 3, constant(BUSY), seed=1, start=START + 5000))
    evidence = proof.read(START + 5003)
    assert evidence.proven
    assert not evidence.safe_now
    assert masses["errors"] > 0
    assert proof.watches["errors"].breach.value >= 0.001 * masses["errors"]


def test_a_restored_proof_without_history_has_a_hole() -> None:
    proof, before = watched(constant(BUSY), seconds=180, policy=QUICK)
    assert before.safe_now
    after = Proof.restored(PAIR, QUICK, proof.checkpoint())
    after.advance(history("int8-0", "int8", 3, constant(BUSY), seed=1, start=START + 300))
    assert not after.read(START + 303).safe_now


def test_a_minute_without_prometheus_is_one_large_tick() -> None:
    scrapes = [each for each in pair_history(constant(MIXED), seconds=300, seed=1) if not 100 < each.at - START < 160]
    proof = Proof(PAIR, POLICY, START)
    proof.advance(scrapes)
    last = [each for each in scrapes if each.pod == "int8-0"][-1]
    assert gate(proof.read(START + 300), "errors").samples > 0.95 * (last.counters[REQUESTS] - 1000)


def test_another_budget_begins_only_its_own_gate_anew() -> None:
    proof, before = watched(constant(BUSY), seconds=180, policy=QUICK)
    proof.revise(replace(QUICK, mismatch=0.05))
    after = proof.read(START + 180)
    assert before.proven
    assert not after.proven
    assert gate(after, "mismatch") == GateReading("mismatch", 0, 0, 0.05, 0.0, 0.0)
    assert gate(after, "errors") == gate(before, "errors")
    assert gate(after, "latency") == gate(before, "latency")


def test_another_meaning_of_a_mismatch_begins_its_gate_anew_whether_the_operator_runs_or_not() -> None:
    proof, before = watched(constant(BUSY), seconds=180, policy=QUICK)
    cosine = replace(QUICK, divergence="Cosine 0.01 0123456789")
    restored = Proof.restored(PAIR, cosine, proof.checkpoint())
    proof.revise(cosine)
    for each in (restored, proof):
        after = each.read(START + 180)
        assert before.proven
        assert not after.proven
        assert gate(after, "mismatch").samples == 0
        assert after.compared_distinct == 0
        assert gate(after, "errors").samples == gate(before, "errors").samples
    again = Proof.restored(PAIR, cosine, proof.checkpoint())
    again.advance(pair_history(constant(BUSY), seconds=240, seed=7))
    samples = gate(again.read(START + 240), "mismatch").samples
    assert samples > 0
    assert gate(Proof.restored(PAIR, cosine, again.checkpoint()).read(START + 240), "mismatch").samples == samples


def test_a_checkpoint_from_before_there_were_rules_is_one_of_top1() -> None:
    proof, _ = watched(constant(BUSY), seconds=180, policy=QUICK)
    old = state(proof)
    for each in old["watches"].values():  # type: ignore[attr-defined]
        del each["rule"]
    assert Proof.restored(PAIR, QUICK, json.dumps(old)).read(START + 180).proven


def test_another_budget_takes_back_what_the_old_one_condemned() -> None:
    proof, before = watched(constant(replace(BUSY, errors=0.3)))
    assert before.condemned_by == "errors"
    proof.revise(replace(POLICY, errors=0.5))
    assert proof.read(START + 60).condemned_by == ""


def test_another_budget_takes_back_its_retreat_and_no_other_does() -> None:
    proof, before = watched(constant(replace(BUSY, errors=0.3)))
    assert before.retreat_by == "errors"
    proof.revise(replace(POLICY, mismatch=0.05))
    assert proof.read(START + 60).retreat_by == "errors"
    proof.revise(replace(POLICY, errors=0.5))
    assert proof.read(START + 60).retreat_by == ""


def test_it_is_told_when_the_youngest_gate_began() -> None:
    proof, before = watched(constant(BUSY), seconds=180, policy=QUICK)
    slower = replace(QUICK, latency_seconds=0.5)
    text = proof.checkpoint()
    assert before.begun == START
    assert Proof.restored(PAIR, QUICK, text, START + 600).read(START + 600).begun == START
    assert Proof.restored(PAIR, slower, text, START + 600).read(START + 600).begun == START + 600
    proof.revise(slower)
    assert START + 175 < proof.read(START + 180).begun <= START + 180


def test_settings_of_the_operator_begin_nothing_anew() -> None:
    proof, before = watched(constant(BUSY), seconds=60)
    proof.revise(replace(POLICY, tick_seconds=2.0, alpha=0.001, steps=9))
    assert [each.samples for each in proof.read(START + 60).gates] == [each.samples for each in before.gates]


def test_a_budget_changed_while_the_operator_was_down_begins_anew() -> None:
    proof, _ = watched(constant(BUSY), seconds=180, policy=QUICK)
    evidence = Proof.restored(PAIR, replace(QUICK, mismatch=0.05), proof.checkpoint()).read(START + 180)
    assert not evidence.proven
    assert gate(evidence, "errors").samples > 0


@pytest.mark.parametrize("name", ["mismatch", "errors", "alpha", "beta", "tick_seconds", "steps"])
def test_an_impossible_policy_is_refused_by_name(name: str) -> None:
    impossible: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name}: found 0; allowed: above 0"):
        replace(POLICY, **impossible)


@pytest.mark.parametrize("budget", [0.01, 0.02, 0.05])
def test_the_floor_of_a_proof_is_known(budget: float) -> None:
    policy = replace(POLICY, mismatch=budget, tick_seconds=1.0)
    needed = np.log(1 / policy.beta) / budget
    proof = Proof(PAIR, policy, START)
    proven_at = 0
    scrapes = history("int8-0", "int8", int(1.6 * needed), constant(Rates(compared=200)), seed=1)
    for second, scrape in enumerate(scrapes):
        proof.advance([scrape])
        if proof.is_proven:
            proven_at = second
            break
    assert needed < proven_at < 1.25 * needed


def test_half_of_the_answers_failing_retreats_within_four_bad_seconds() -> None:
    delays = []
    for seed in range(31):
        fault = 300 + seed
        proof = Proof(PAIR, POLICY, START)
        proof.weight_changed(START + 60, raised=True)
        # One by one, so that the first alarm is seen.
        for scrape in pair_history(turning(Rates(), Rates(errors=0.5), at=fault), seconds=fault + 30, seed=seed):
            proof.advance([scrape])
            if proof.retreated_at:
                break
        first_full_bad_bin_ends_at = START + fault + 1
        delays.append(proof.retreated_at - first_full_bad_bin_ends_at)
    assert min(delays) >= 0
    assert np.median(delays) <= 4
    assert max(delays) <= 10


def test_errors_are_taken_from_the_counters_by_name() -> None:
    proof = Proof(PAIR, POLICY, START)
    proof.advance(
        Scrape(START + i, "int8-0", "int8", {REQUESTS: 10 * i, ERRORS: i, "quanary_unknown_total": 5 * i})
        for i in range(12)
    )
    assert gate(proof.read(START + 12), "errors").samples == 100
    assert gate(proof.read(START + 12), "errors").bad == 10
