"""Which evidence a decision asks for."""

from quanary.controller.decide import decide
from quanary.controller.subject import present_subject, subject_of
from tests.controller.scenes import (
    FLOAT,
    INT8,
    OTHER,
    artifact,
    backend,
    canary,
    condemned,
    disagreeing,
    seen,
    spec,
    status,
)


def test_nobody_is_compared_before_there_is_an_artifact() -> None:
    at = seen()
    assert subject_of(at, decide(at)) is None


def test_a_canary_is_compared_with_float_at_its_step() -> None:
    at = seen(memory=canary(5))
    subject = subject_of(at, decide(at))
    assert subject
    assert (subject.float_digest, subject.int8_digest, subject.step) == (FLOAT, INT8, 50)
    assert subject.in_progress
    assert subject.since == at.now
    assert subject.compared_wanted == 1_000_000 + 1000


def test_a_promoted_artifact_is_watched_at_leisure() -> None:
    at = seen(memory=status(stable=artifact()))
    subject = subject_of(at, decide(at))
    assert subject
    assert not subject.in_progress


def test_a_condemned_artifact_is_watched_no_more_unless_one_is_stable_beside_it() -> None:
    alone = seen(memory=status(candidate=artifact(), condemned=condemned()))
    assert subject_of(alone, decide(alone)) is None
    beside = seen(memory=status(candidate=artifact(), stable=artifact(OTHER), condemned=condemned()))
    subject = subject_of(beside, decide(beside))
    assert subject
    assert subject.int8_digest == OTHER


def test_every_artifact_that_was_tried_makes_the_next_proof_harder() -> None:
    at = seen(memory=status(candidate=artifact(), condemned=condemned(OTHER)))
    subject = subject_of(at, decide(at))
    assert subject
    assert subject.attempt == 2


def test_a_retried_artifact_begins_its_evidence_anew() -> None:
    retried = seen(memory=status(candidate=artifact(), condemned=condemned()), spec=spec(rollout={"retry": INT8}))
    subject = subject_of(retried, decide(retried))
    assert subject
    assert subject.retried


def test_without_a_gate_of_the_users_the_sealed_answers_set_it() -> None:
    at = seen(memory=canary(5).model_copy(update={"candidate": disagreeing(0.0, 0.04)}))
    subject = subject_of(at, decide(at))
    assert subject
    assert subject.mismatch == 0.08
    assert subject.compared_wanted == 1_000_000 + 250, "fewer comparisons prove a wider gate"


def test_the_gates_of_the_inputs_come_with_the_artifact() -> None:
    at = seen(memory=canary(5).model_copy(update={"candidate": artifact(out_of_range_budget=0.03)}))
    subject = subject_of(at, decide(at))
    assert subject
    assert (subject.input_range, subject.input_drift) == (0.03, 0.05)


def test_evidence_is_judged_by_the_present_spec_before_anything_is_decided() -> None:
    at = seen(memory=canary(5), spec=spec(gates={"mismatch": 0.07}))
    subject = present_subject(at)
    assert subject
    assert (subject.int8_digest, subject.mismatch, subject.step) == (INT8, 0.07, 5)
    beside = seen(memory=status(candidate=artifact(), stable=artifact(OTHER), condemned=condemned()))
    stable = present_subject(beside)
    assert stable
    assert stable.int8_digest == OTHER


def test_without_a_valid_spec_or_an_artifact_evidence_stays_what_it_is() -> None:
    assert present_subject(seen(memory=canary(5), spec=None, spec_error="wrong")) is None
    assert present_subject(seen(memory=canary(5), spec_error="an image that is not allowed")) is None
    assert present_subject(seen()) is None


def test_what_is_escalated_is_known() -> None:
    at = seen(memory=canary(5), spec=spec(escalation={"below": 0.6, "budget": 0.2}))
    subject = subject_of(at, decide(at))
    assert subject
    assert subject.escalation == at.spec.escalation if at.spec else False


def test_pods_of_the_pair_are_known_with_what_they_count_by_an_older_spec() -> None:
    backends = {
        FLOAT: backend(FLOAT, outdated={"f-old": frozenset({"latency"}), "f-new": frozenset()}),
        INT8: backend(INT8, outdated={"i-old": frozenset({"mismatch", "escalation"}), "i-new": frozenset()}),
        OTHER: backend(OTHER, outdated={"o": frozenset({"mismatch", "answers"})}),
    }
    subject = present_subject(seen(memory=canary(5), backends=backends))
    assert subject
    assert subject.outdated == {
        "f-old": {"latency"},
        "f-new": frozenset(),
        "i-old": {"mismatch", "escalation"},
        "i-new": frozenset(),
    }
