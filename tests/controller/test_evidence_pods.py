"""Evidence while pods are rolled: each counts for the gates as to which its spec is the present one."""

from dataclasses import replace

import pytest

from quanary.api.names import Variant
from quanary.controller.evidence import Evidence, GateReading, Policy, Proof, Scrape
from quanary.wire.metrics import ESCALATED, REQUESTS
from tests.controller.simulation import POLICY, START, Rates, history

PAIR = "ffffffffff/aaaaaaaaaa"
CHANGED, END = 30, 240  # seconds: the spec, the test
GOOD = Rates(requests=20, compared=20)
DIFFERING = replace(GOOD, mismatched=0.5)
BEFORE = replace(POLICY, mismatch=0.1, tick_seconds=2.0, served="front")
COSINE = replace(BEFORE, divergence="Cosine 0.3 0123456789")
NONE = frozenset[str]()
OLD_MEASURE = {pod: frozenset({"mismatch"}) for pod in ("float-old", "int8-old")}
NEW = dict.fromkeys(("float-new", "int8-new"), NONE)


def pods(older: Rates, newer: Rates, *, rolled: int = END) -> list[Scrape]:
    """A float and an INT8 pod until `rolled`, and others since ten seconds after the change."""
    variants: tuple[Variant, ...] = ("float", "int8")
    born = CHANGED + 10
    scrapes = []
    for seed, each in enumerate(variants):
        scrapes += history(f"{each}-old", each, rolled, lambda _: older, seed=seed)
        scrapes += history(f"{each}-new", each, END - born, lambda _: newer, seed=seed + 9, start=START + born, base=0)
    return sorted(scrapes)


def part(scrapes: list[Scrape], first: float, last: float) -> list[Scrape]:
    return [each for each in scrapes if first < each.at - START <= last]


def changed(scrapes: list[Scrape], policy: Policy = COSINE) -> Proof:
    """The proof at the moment of the change, all pods known."""
    proof = Proof(PAIR, BEFORE, START)
    proof.note_pods(dict.fromkeys(OLD_MEASURE, NONE))
    proof.advance(part(scrapes, -9, CHANGED))
    proof.revise(policy)
    return proof


def gate(evidence: Evidence, name: str) -> GateReading:
    return next(each for each in evidence.gates if each.name == name)


def test_older_pods_say_nothing_by_the_new_measure_and_newer_ones_do_at_once_however_long_the_roll_takes() -> None:
    scrapes = pods(DIFFERING, GOOD)
    proof = changed(scrapes)
    proof.note_pods(OLD_MEASURE | NEW)
    proof.advance(part(scrapes, CHANGED, END))
    evidence = proof.read(START + END)
    assert evidence.proven
    assert gate(evidence, "mismatch").bad == 0
    assert gate(evidence, "mismatch").samples == pytest.approx(40 * (END - CHANGED - 10), rel=0.05)
    assert gate(evidence, "errors").samples == pytest.approx(20 * (END + END - CHANGED - 10), rel=0.05), "of all pods"
    heeded = changed(scrapes)
    heeded.note_pods(dict.fromkeys(OLD_MEASURE, NONE) | NEW)
    heeded.advance(part(scrapes, CHANGED, END))
    assert heeded.read(START + END).condemned_by == "mismatch", "the counters of older pods are bad enough"


def test_a_stuck_roll_leaves_the_gate_to_the_pods_that_are_new() -> None:
    scrapes = pods(GOOD, DIFFERING)
    proof = changed(scrapes)
    proof.note_pods(OLD_MEASURE | NEW)
    proof.advance(part(scrapes, CHANGED, END))
    evidence = proof.read(START + END)
    assert evidence.condemned_by == "mismatch"
    assert not evidence.proven


def test_without_a_newer_pod_there_are_no_samples_and_no_time_passes_for_the_gate() -> None:
    scrapes = history("int8-old", "int8", END, lambda _: replace(GOOD, over_budget=0.5), seed=2)
    proof = changed(scrapes, replace(BEFORE, latency_seconds=0.01))
    proof.note_pods({"int8-old": frozenset({"latency"})})
    proof.advance(part(scrapes, CHANGED, END))
    evidence = proof.read(START + END)
    assert (gate(evidence, "latency").samples, evidence.condemned_by) == (0, "")
    assert END - 3 < evidence.begun - START <= END
    assert gate(evidence, "mismatch").samples > 0


SLOW = replace(GOOD, over_budget=0.5)
LATER = replace(BEFORE, latency_seconds=0.01)


def slow_pair(**outdated: frozenset[str]) -> Evidence:
    """A float and an INT8 pod that are slow in the same moments; of each, what it counts by an older spec."""
    variants: tuple[Variant, ...] = ("float", "int8")
    scrapes = sorted(
        each
        for seed, variant in enumerate(variants)
        for each in history(variant, variant, END, lambda _: SLOW, seed=seed)
    )
    proof = Proof(PAIR, BEFORE, START)
    proof.note_pods({"float": NONE, "int8": NONE})
    proof.advance(part(scrapes, -9, CHANGED))
    proof.revise(LATER)
    proof.note_pods({"float": NONE, "int8": NONE} | outdated)
    proof.advance(part(scrapes, CHANGED, END))
    return proof.read(START + END)


def test_a_slow_moment_of_all_excuses_int8_though_float_is_not_rolled_yet() -> None:
    evidence = slow_pair(float=frozenset({"latency"}))
    assert gate(evidence, "latency").bad > 0
    assert evidence.condemned_by == ""


def test_what_float_counts_is_no_outcome_of_int8_and_lets_no_time_pass() -> None:
    evidence = slow_pair(int8=frozenset({"latency"}))
    assert gate(evidence, "latency").samples == 0
    assert END - 3 < evidence.begun - START <= END


def test_the_gate_has_begun_with_the_first_sample_of_a_newer_pod() -> None:
    scrapes = pods(GOOD, GOOD)
    proof = changed(scrapes)
    proof.note_pods(OLD_MEASURE | NEW)
    proof.advance(part(scrapes, CHANGED, END))
    assert CHANGED + 9 < proof.read(START + END).begun - START < CHANGED + 14


def test_the_last_samples_of_a_pod_that_has_gone_are_its_own() -> None:
    scrapes = pods(DIFFERING, GOOD, rolled=100)
    proof = changed(scrapes)
    proof.note_pods(OLD_MEASURE | NEW)
    proof.advance(part(scrapes, CHANGED, 95))
    proof.note_pods(NEW)
    proof.advance(part(scrapes, 95, END))
    assert gate(proof.read(START + END), "mismatch").bad == 0


def test_a_pod_of_which_nobody_heard_counts_for_errors_alone() -> None:
    """As after a restart of the operator, which finds its samples and not the pod."""
    scrapes = pods(DIFFERING, GOOD, rolled=100)
    proof = changed(scrapes)
    proof.note_pods(OLD_MEASURE | NEW)
    proof.advance(part(scrapes, CHANGED, 80))
    restarted = Proof.restored(PAIR, COSINE, proof.checkpoint(), START + 130)
    restarted.note_pods(NEW)
    restarted.advance(part(scrapes, 70, END))
    proof.advance(part(scrapes, 80, END))
    again, never = restarted.read(START + END), proof.read(START + END)
    # Nor is it known what it answered to float until it went.
    lost = 20 * (103 - 80)
    assert gate(again, "mismatch").bad == 0
    assert gate(again, "mismatch").samples == pytest.approx(gate(never, "mismatch").samples - lost, abs=0.3 * lost)
    assert gate(again, "errors") == gate(never, "errors")
    assert again.proven


def test_what_float_compares_with_answers_of_an_older_spec_is_no_evidence() -> None:
    """Whichever INT8 pod answers it; INT8's own comparisons are with float."""
    scrapes = pods(GOOD, GOOD, rolled=100)
    proof = changed(scrapes, replace(BEFORE, served="triton"))
    by_another = frozenset({"mismatch", "answers"})
    proof.note_pods(dict.fromkeys(OLD_MEASURE, by_another) | NEW)
    proof.advance(part(scrapes, CHANGED, 95))
    first = gate(proof.read(START + 95), "mismatch").samples
    assert first == pytest.approx(20 * (95 - CHANGED - 10), rel=0.1), "of the newer INT8 pod alone"
    proof.note_pods(NEW)
    proof.advance(part(scrapes, 95, END))
    then = gate(proof.read(START + END), "mismatch").samples - first
    assert then == pytest.approx(20 * (END - 95 + END - 103), rel=0.1), "of both, when the older one has been silent"


def test_nor_is_it_though_the_operator_finds_that_pod_gone_when_it_starts() -> None:
    scrapes = pods(GOOD, GOOD, rolled=100)
    proof = changed(scrapes, replace(BEFORE, served="triton"))
    proof.note_pods(dict.fromkeys(OLD_MEASURE, frozenset({"mismatch", "answers"})) | NEW)
    proof.advance(part(scrapes, CHANGED, 80))
    restarted = Proof.restored(PAIR, proof.policy, proof.checkpoint(), START + 130)
    restarted.note_pods(NEW)
    restarted.advance(part(scrapes, 70, END))
    proof.advance(part(scrapes, 80, END))
    assert gate(restarted.read(START + END), "mismatch") == gate(proof.read(START + END), "mismatch")


def test_a_hold_for_unsure_answers_outlives_a_roll_and_ends_by_what_newer_pods_say() -> None:
    def unsure(scrapes: list[Scrape], share: float) -> list[Scrape]:
        return [
            each._replace(counters={**each.counters, ESCALATED: int(each.counters[REQUESTS] * share)})
            for each in scrapes
        ]

    scrapes = sorted(
        [
            *unsure(history("int8-old", "int8", END, lambda _: GOOD, seed=1), 0.4),
            *unsure(history("int8-new", "int8", END - 100, lambda _: GOOD, seed=2, start=START + 100, base=0), 0.0),
        ]
    )
    before = replace(BEFORE, escalation=0.1, unsure="0.9")
    proof = Proof(PAIR, before, START)
    proof.advance(part(scrapes, -9, 60))
    assert gate(proof.read(START + 60), "escalation").holds
    proof.revise(replace(before, unsure="0.5"))
    proof.note_pods({"int8-old": frozenset({"escalation"}), "int8-new": NONE})
    proof.advance(part(scrapes, 60, 100))
    held = gate(proof.read(START + 100), "escalation")
    assert (held.holds, held.samples) == (True, 0)
    proof.advance(part(scrapes, 100, END))
    assert not gate(proof.read(START + END), "escalation").holds


@pytest.mark.parametrize(
    ("saved", "now", "is_kept"),
    [("front", "front", True), ("front", "triton", False), ("triton", "front", False), ("", "triton", True)],
)
def test_a_proof_holds_of_the_server_that_it_was_made_with(saved: str, now: str, *, is_kept: bool) -> None:
    """Checkpoints of older operators do not say which."""
    proof = Proof(PAIR, replace(COSINE, served=saved, unsure=saved, escalation=0.1), START)
    proof.advance(pods(GOOD, GOOD))
    assert proof.read(START + END).proven
    policy = replace(COSINE, served=now, unsure=now, escalation=0.1)
    evidence = Proof.restored(PAIR, policy, proof.checkpoint()).read(START + END)
    assert evidence.proven == is_kept
    assert (gate(evidence, "escalation").samples > 0) == is_kept
    assert gate(evidence, "errors").samples > 0
