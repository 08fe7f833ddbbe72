"""Evidence while a change of the spec rolls the pods: what older ones count decides nothing that they cannot know."""

import json
from dataclasses import replace

import pytest

from quanary.api.names import Variant
from quanary.controller.evidence import Evidence, GateReading, Policy, Proof, Scrape
from tests.controller.simulation import POLICY, START, Rates, history

PAIR = "ffffffffff/aaaaaaaaaa"
CHANGED, ROLLED, END = 30, 90, 240  # seconds: the spec, the last older pod, the test
GOOD = Rates(requests=20, compared=20)
DIFFERING = replace(GOOD, mismatched=0.5)
BEFORE = replace(POLICY, mismatch=0.1, tick_seconds=2.0)
AFTER = replace(BEFORE, divergence="Cosine 0.3 0123456789")
WAITING = replace(AFTER, outdated=frozenset({"mismatch"}))


def pods(older: Rates, newer: Rates) -> list[Scrape]:
    """A float and an INT8 pod that go when others, there since the middle of the roll, have taken over."""
    half = (CHANGED + ROLLED) // 2
    variants: tuple[Variant, ...] = ("float", "int8")
    scrapes = []
    for seed, each in enumerate(variants):
        scrapes += history(f"{each}-old", each, ROLLED, lambda _: older, seed=seed)
        scrapes += history(f"{each}-new", each, END - half, lambda _: newer, seed=seed + 9, start=START + half, base=0)
    return sorted(scrapes)


def part(scrapes: list[Scrape], first: float, last: float) -> list[Scrape]:
    return [each for each in scrapes if first < each.at - START <= last]


def rolled(older: Rates, newer: Rates, waiting: Policy = WAITING, after: Policy = AFTER) -> tuple[Proof, Evidence]:
    """The proof at the end, and what it said just before the last older pod had gone."""
    scrapes = pods(older, newer)
    proof = Proof(PAIR, BEFORE, START)
    proof.advance(part(scrapes, -9, CHANGED))
    proof.revise(waiting, START + CHANGED)
    proof.advance(part(scrapes, CHANGED, ROLLED))
    rolling = proof.read(START + ROLLED)
    proof.revise(after, START + ROLLED + 1)
    proof.advance(part(scrapes, ROLLED, END))
    return proof, rolling


def gate(evidence: Evidence, name: str) -> GateReading:
    return next(each for each in evidence.gates if each.name == name)


def test_mismatches_by_the_older_measure_say_nothing_of_the_new_one() -> None:
    proof, rolling = rolled(DIFFERING, GOOD)
    assert gate(rolling, "mismatch").samples == 0
    assert gate(rolling, "errors").samples > 20 * ROLLED * 0.9
    evidence = proof.read(START + END)
    assert evidence.condemned_by == ""
    assert evidence.proven
    assert gate(evidence, "mismatch").bad == 0
    assert gate(evidence, "mismatch").samples == pytest.approx(40 * (END - ROLLED), rel=0.05)
    unheeded, _ = rolled(DIFFERING, GOOD, waiting=AFTER)
    assert unheeded.read(START + END).condemned_by == "mismatch", "the counters of older pods are bad enough"


def test_nor_do_matches_by_the_older_measure_prove_the_new_one() -> None:
    proof, rolling = rolled(GOOD, DIFFERING)
    assert not rolling.proven
    evidence = proof.read(START + END)
    assert not evidence.proven
    assert evidence.condemned_by == "mismatch"


def test_slow_answers_by_the_older_budget_say_nothing_of_the_new_one() -> None:
    slow = replace(GOOD, over_budget=0.5)
    # Only INT8 is slow: float's own slowness would excuse it.
    float_ = history("float-0", "float", 300, lambda _: GOOD, seed=1)
    scrapes = sorted([*float_, *history("int8-old", "int8", 300, lambda _: slow, seed=2)])
    after = replace(BEFORE, latency_seconds=1.0)
    waiting = replace(after, outdated=frozenset({"latency"}))
    for policy, condemned in ((waiting, ""), (after, "latency")):
        proof = Proof(PAIR, BEFORE, START)
        proof.revise(policy, START)
        proof.advance(scrapes)
        assert proof.read(START + 300).condemned_by == condemned
        assert gate(proof.read(START + 300), "mismatch").samples > 0


@pytest.mark.parametrize("outdated", [{"mismatch"}, {"mismatch", "latency", "escalation"}])
def test_errors_of_broken_new_pods_condemn_while_the_roll_goes_on(outdated: set[str]) -> None:
    waiting = replace(AFTER, outdated=frozenset(outdated))
    _, rolling = rolled(GOOD, replace(GOOD, errors=0.5), waiting)
    assert rolling.condemned_by == "errors"
    assert rolling.retreat_by == "errors"


def test_with_two_servers_in_the_mix_what_is_bad_counts_and_what_is_good_proves_nothing_for_long() -> None:
    another, mixed = replace(BEFORE, served="b"), replace(BEFORE, served="b and another")
    _, rolling = rolled(GOOD, replace(GOOD, mismatched=1.0), mixed, another)
    assert rolling.condemned_by == "mismatch"
    scrapes = pods(GOOD, GOOD)
    proof = Proof(PAIR, BEFORE, START)
    proof.advance(part(scrapes, -9, CHANGED))
    proof.revise(mixed, START + CHANGED)
    proof.advance(part(scrapes, CHANGED, 200))
    assert proof.read(START + 200).proven
    proof.revise(another, START + 200)
    assert not proof.read(START + 200).proven
    assert gate(proof.read(START + 200), "mismatch").samples == 0
    assert gate(proof.read(START + 200), "errors").samples > 0


def test_what_begins_later_leaves_out_what_came_before() -> None:
    proof = Proof(PAIR, BEFORE, START)
    scrapes = pods(DIFFERING, GOOD)
    proof.advance(part(scrapes, -9, 80))
    # Prometheus is a little behind, and older pods are in the samples up to their end.
    proof.revise(AFTER, START + ROLLED + 1)
    proof.advance(part(scrapes, 80, END))
    assert gate(proof.read(START + END), "mismatch").bad == 0


@pytest.mark.parametrize("stop", [40, 60, 89])
def test_a_restart_in_the_roll_or_after_it_begins_where_it_should(stop: int) -> None:
    scrapes = pods(DIFFERING, GOOD)
    before = Proof(PAIR, BEFORE, START)
    before.advance(part(scrapes, -9, CHANGED))
    before.revise(WAITING, START + CHANGED)
    before.advance(part(scrapes, CHANGED, stop))
    text = before.checkpoint()
    rolling = Proof.restored(PAIR, WAITING, text, START + stop)
    rolling.advance(part(scrapes, stop - 60, ROLLED))
    assert gate(rolling.read(START + ROLLED), "mismatch").samples == 0
    assert gate(rolling.read(START + ROLLED), "errors").samples > 0
    # It was down for the rest of the roll: what it missed is read once more, and is no evidence of what is asked now.
    later = Proof.restored(PAIR, AFTER, text, START + ROLLED + 1)
    later.advance(part(scrapes, stop - 60, END))
    evidence = later.read(START + END)
    assert (gate(evidence, "mismatch").bad, evidence.condemned_by, evidence.proven) == (0, "", True)


def test_a_change_that_nobody_saw_roll_begins_anew_where_the_operator_comes_back() -> None:
    scrapes = pods(DIFFERING, GOOD)
    before = Proof(PAIR, replace(BEFORE, mismatch=0.9), START)
    before.advance(part(scrapes, -9, CHANGED))
    later = Proof.restored(PAIR, AFTER, before.checkpoint(), START + ROLLED + 1)
    later.advance(part(scrapes, -9, END))
    assert gate(later.read(START + END), "mismatch").bad == 0


def proven(served: str) -> Proof:
    proof = Proof(PAIR, replace(BEFORE, served=served), START)
    proof.advance(part(pods(GOOD, GOOD), -9, 200))
    assert proof.read(START + 200).proven
    return proof


@pytest.mark.parametrize(("before", "after", "goes_on"), [("a", "a", True), ("a", "b", False), ("a", "", False)])
def test_a_proof_holds_of_one_server_alone_also_over_a_restart(before: str, after: str, goes_on: bool) -> None:
    text = proven(before).checkpoint()
    restored = Proof.restored(PAIR, replace(BEFORE, served=after), text, START + 200)
    assert restored.read(START + 200).proven == goes_on
    assert gate(restored.read(START + 200), "errors").samples > 0


def test_a_checkpoint_of_an_older_operator_keeps_its_proof_whatever_server_there_is() -> None:
    text = proven("").checkpoint()
    assert all("served" not in each for each in json.loads(text)["watches"].values()), "older operators read it too"
    restored = Proof.restored(PAIR, replace(BEFORE, served="a"), text, START + 200)
    assert restored.read(START + 200).proven
    assert json.loads(restored.checkpoint())["watches"]["mismatch"]["served"] == "a"
