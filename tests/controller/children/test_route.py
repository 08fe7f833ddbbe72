from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.controller.children.route import (
    GRPC_PATH,
    backend_names,
    backend_weights,
    digest_weights,
    is_accepted,
    split_weights,
)
from quanary.controller.decision import Share, Target
from quanary.controller.support import BACKEND_H2C, PATH_REWRITE
from quanary.wire.launch import GRPC_PORT, HTTP_PORT
from tests.controller.models import FLOAT, FLOAT_RUNNING, INT8, INT8_RUNNING, built, canary, spec


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


def route_of(
    target: Target, *, path: str = "", critical_path: str = "", hostnames: tuple[str, ...] = ()
) -> dict[str, Any]:
    route = {"parentRefs": [{"name": "public"}], "path": path, "hostnames": hostnames}
    found = built(target, spec(route=route, critical={"path": critical_path})).route
    assert found
    return found


def rules(**changes: Any) -> list[dict[str, Any]]:
    """The rules of a canary at 5 %."""
    lacking = frozenset(changes.pop("lacking", ()))
    found: list[dict[str, Any]] = route_of(canary(50, lacking=lacking), **changes)["spec"]["rules"]
    return found


def asked(rule: dict[str, Any]) -> str:
    (match,) = rule["matches"]
    return str(match["path"]["value"])


def sent(rule: dict[str, Any], path: str) -> str:
    """What the server is asked for `path`, as a gateway would rewrite it."""
    assert (path + "/").startswith(asked(rule).rstrip("/") + "/")
    for each in rule.get("filters", ()):
        if each["type"] == "URLRewrite":
            rest = path.removeprefix(asked(rule)).lstrip("/")
            return f"{each['urlRewrite']['path']['replacePrefixMatch'].rstrip('/')}/{rest}"
    return path


@pytest.mark.parametrize(
    ("path", "user_asks"),
    [
        pytest.param("", "/v2/models/digits/infer", id="the model's own path"),
        pytest.param("/", "/v2/models/digits/infer", id="everything under a host name"),
        pytest.param("/v2", "/v2/models/digits/infer", id="the whole protocol"),
        pytest.param("/digits", "/digits/infer", id="another path"),
        pytest.param("/v2/models/digit", "/v2/models/digit/infer", id="a path that only begins like the model's"),
        pytest.param("/team/digits", "/team/digits/infer", id="another deep path"),
    ],
)
def test_the_server_is_asked_for_its_own_path_by_every_prefix_and_both_marks(path: str, user_asks: str) -> None:
    by_header, by_path, split = rules(path=path, critical_path="/critical")
    assert {sent(rule, user_asks) for rule in (by_header, split)} == {"/v2/models/digits/infer"}
    assert sent(by_path, f"/critical{user_asks}") == "/v2/models/digits/infer"


def test_a_path_within_the_models_own_is_not_rewritten() -> None:
    by_header, split = rules(path="/v2/models/digits/versions/1")
    assert "filters" not in by_header
    assert "filters" not in split


def test_a_critical_path_goes_to_float_alone_and_wears_the_mark_of_the_header() -> None:
    by_header, by_path, split = rules(critical_path="/critical")
    assert asked(by_path) == "/critical/v2/models/digits"
    (marking,) = [each for each in by_path["filters"] if each["type"] == "RequestHeaderModifier"]
    assert marking["requestHeaderModifier"] == {"set": [{"name": "x-critical", "value": "true"}]}
    for rule in (by_header, by_path):
        assert [(ref["name"], ref["weight"]) for ref in rule["backendRefs"]] == [("digits-float-ffffffffff", 1000)]
    assert "filters" not in split


def test_grpc_has_the_same_split_under_a_host_name_of_its_own() -> None:
    by_header, grpc_by_header, split, grpc = rules(hostnames=("digits.example.com",))
    assert asked(grpc_by_header) == asked(grpc) == GRPC_PATH
    assert grpc_by_header["matches"][0]["headers"] == by_header["matches"][0]["headers"]
    assert [(ref["name"], ref["port"]) for ref in grpc_by_header["backendRefs"]] == [
        ("digits-float-ffffffffff", GRPC_PORT)
    ]
    assert {ref["port"] for ref in split["backendRefs"]} == {HTTP_PORT}
    assert grpc["backendRefs"] == [{**ref, "port": GRPC_PORT} for ref in split["backendRefs"]]


def test_every_port_of_the_route_is_one_of_its_service() -> None:
    hostnames = {"parentRefs": [{"name": "public"}], "hostnames": ["digits.example.com"]}
    manifests = built(canary(50), spec(route=hostnames))
    ports = {each["metadata"]["name"]: {port["port"] for port in each["spec"]["ports"]} for each in manifests.services}
    assert manifests.route
    for rule in manifests.route["spec"]["rules"]:
        assert all(ref["port"] in ports[ref["name"]] for ref in rule["backendRefs"])


def test_grpc_has_no_rule_without_a_host_name() -> None:
    assert GRPC_PATH not in {asked(rule) for rule in rules()}


def test_what_a_gateway_lacks_is_left_out_and_never_written() -> None:
    everything = {"path": "/digits", "critical_path": "/critical", "hostnames": ("digits.example.com",)}
    assert len(rules(**everything)) == 5
    by_header, split = rules(**everything, lacking=(PATH_REWRITE, BACKEND_H2C))
    assert {asked(by_header), asked(split)} == {"/v2/models/digits"}
    assert "filters" not in by_header | split


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_every_rule_of_the_split_says_the_same(weight: int) -> None:
    everything = {"path": "/digits", "critical_path": "/critical", "hostnames": ("digits.example.com",)}
    route = route_of(canary(weight), **everything)  # type: ignore[arg-type]
    http, grpc = split_weights(route)
    assert http == grpc == backend_weights(route)
    assert len(route["spec"]["rules"]) <= 16


@pytest.mark.parametrize("lowered", [0, 1])
@pytest.mark.parametrize("is_removed", [False, True])
def test_a_weight_lowered_in_any_rule_of_the_split_is_lowered(lowered: int, is_removed: bool) -> None:
    route = route_of(canary(500), hostnames=("digits.example.com",))
    split = route["spec"]["rules"][2 + lowered]["backendRefs"]
    if is_removed:
        del split[1]
    else:
        split[1]["weight"] = 0
    assert digest_weights(route) == {FLOAT[:10]: 500, INT8[:10]: 0}


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
