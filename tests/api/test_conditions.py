"""Conditions as kstatus reads them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quanary.api.conditions import RECONCILING, STALLED, Facts, RouteWord, conditions
from quanary.api.v1alpha1 import Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROUTE = RouteWord("Unknown", "FeaturesUnknown", "GatewayClass public declares no features")
FACTS = Facts(Stage.CANARY, "Canary", "INT8 at 5 %", 3, is_healthy=True, is_quantized=True, is_proven=True, route=ROUTE)


def states(facts: Facts) -> dict[str, str]:
    return {each.type: each.status for each in conditions(facts, (), NOW)}


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_in_progress_or_failed_or_settled_never_two(stage: Stage) -> None:
    found = states(replace(FACTS, stage=stage))
    assert ("Reconciling" in found) == (stage in RECONCILING)
    assert ("Stalled" in found) == (stage in STALLED)
    assert not RECONCILING & STALLED
    assert {Stage.PROMOTED} == set(Stage) - RECONCILING - STALLED


def test_rolled_back_is_ready_while_something_healthy_serves_and_still_asks_for_a_person() -> None:
    found = states(replace(FACTS, stage=Stage.ROLLED_BACK))
    assert (found["Ready"], found["Stalled"], found["RolledBack"]) == ("True", "True", "True")


def test_float_only_by_choice_is_not_in_progress() -> None:
    assert "Reconciling" not in states(replace(FACTS, stage=Stage.SERVING_FLOAT, is_settled=True))


def test_a_transition_moves_only_its_own_condition() -> None:
    first = conditions(FACTS, (), NOW)
    later = conditions(replace(FACTS, is_healthy=False, generation=4), first, NOW + timedelta(hours=1))
    moved = {each.type for each in later if each.last_transition_time != NOW}
    assert moved == {"Ready"}
    assert {each.observed_generation for each in later} == {4}


def test_what_the_gateways_can_do_is_said_in_words_of_its_own() -> None:
    found = {each.type: each for each in conditions(FACTS, (), NOW)}
    supported = found["RouteSupported"]
    assert (supported.status, supported.reason, supported.message) == (ROUTE.status, ROUTE.reason, ROUTE.message)
    assert found["Ready"].reason == "Canary"
