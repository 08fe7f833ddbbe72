import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.controller.children.route import backend_names, backend_weights, digest_weights, is_accepted
from quanary.controller.decision import Share, Target
from tests.controller.models import FLOAT, FLOAT_RUNNING, INT8, INT8_RUNNING, built, canary


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_weights_are_whole_and_sum_to_1000(weight: int) -> None:
    route = built(canary(weight)).route
    assert route
    assert backend_weights(route) == {"digits-float-ffffffffff": 1000 - weight, "digits-int8-aaaaaaaaaa": weight}
    assert digest_weights(route) == {FLOAT[:10]: 1000 - weight, INT8[:10]: weight}
    assert all(sum(ref["weight"] for ref in rule["backendRefs"]) == 1000 for rule in route["spec"]["rules"])


def test_critical_requests_come_first_and_go_to_float() -> None:
    route = built(canary(1000)).route
    assert route
    critical, split = route["spec"]["rules"]
    assert critical["matches"][0]["headers"] == [{"type": "Exact", "name": "x-critical", "value": "true"}]
    assert [(ref["name"], ref["weight"]) for ref in critical["backendRefs"]] == [("digits-float-ffffffffff", 1000)]
    assert (
        critical["matches"][0]["path"]
        == split["matches"][0]["path"]
        == {
            "type": "PathPrefix",
            "value": "/v2/models/digits",
        }
    )


def test_every_backend_spells_out_what_the_api_server_would_fill_in() -> None:
    route = built(canary(50)).route
    assert route
    for rule in route["spec"]["rules"]:
        assert all(set(ref) == {"group", "kind", "name", "port", "weight"} for ref in rule["backendRefs"])


def test_a_variant_without_service_is_left_out() -> None:
    target = canary(0, running=(FLOAT_RUNNING,))
    route = built(target).route
    assert route
    assert backend_names(route) == {"digits-float-ffffffffff"}


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        pytest.param(canary(10, running=(FLOAT_RUNNING,)), "does not run", id="weight without a Service"),
        pytest.param(canary(10, running=(INT8_RUNNING,)), "does not run", id="no float for critical requests"),
        pytest.param(
            Target(running=(FLOAT_RUNNING,), shares=(Share("float", FLOAT, 999),), float_digest=FLOAT),
            "sum to 999",
            id="weights that do not add up",
        ),
    ],
)
def test_an_impossible_split_is_refused(target: Target, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        built(target)


def _condition(kind: str, status: str = "True", generation: int = 2) -> dict[str, object]:
    return {"type": kind, "status": status, "observedGeneration": generation}


@pytest.mark.parametrize(
    ("parents", "accepted"),
    [
        pytest.param([[_condition("Accepted"), _condition("ResolvedRefs")]], True, id="accepted"),
        pytest.param([], False, id="no parent has spoken"),
        pytest.param([[_condition("Accepted"), _condition("ResolvedRefs", "False")]], False, id="a backend is missing"),
        pytest.param(
            [[_condition("Accepted", generation=1), _condition("ResolvedRefs")]], False, id="of an older route"
        ),
        pytest.param(
            [[_condition("Accepted"), _condition("ResolvedRefs")], [_condition("Accepted", "False")]],
            False,
            id="one of two parents refuses",
        ),
    ],
)
def test_acceptance_is_by_every_parent_at_the_present_generation(
    parents: list[list[dict[str, object]]], accepted: bool
) -> None:
    route = {
        "metadata": {"generation": 2},
        "spec": {"parentRefs": [{"name": "public"}]},
        "status": {"parents": [{"conditions": conditions} for conditions in parents]},
    }
    assert is_accepted(route) is accepted
