"""Which changes of the spec give the counters of serving pods another meaning, told from the pods themselves."""

from typing import Any

import pytest

from quanary.controller.children.counting import outdated
from tests.controller.models import built, canary, spec

DIGEST = "@sha256:" + "c" * 64
TRITON = {"type": "Triton", "server": {"image": f"nvcr.io/nvidia/tritonserver{DIGEST}"}}
REVIEW = {"below": 0.6, "to": "Review", "sink": "http://reviews.other.svc/in"}


def pods(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pods of float and of INT8."""
    float_, int8 = built(canary(0), spec(**changes)).deployments
    return float_["spec"]["template"]["spec"], int8["spec"]["template"]["spec"]


def behind(before: dict[str, Any], after: dict[str, Any]) -> tuple[set[str], set[str]]:
    """What pods of the spec before count otherwise after it: float's, and INT8's."""
    float_, int8 = (outdated(new, old) for old, new in zip(pods(**before), pods(**after), strict=True))
    return set(float_), set(int8)


def of_gates(**changes: Any) -> dict[str, Any]:
    return {"gates": changes}


@pytest.mark.parametrize(
    ("before", "after", "both", "int8_alone"),
    [
        ({}, of_gates(divergence={"measure": "Cosine", "limit": 0.1}), {"mismatch"}, set()),
        (of_gates(divergence={"measure": "Cosine", "limit": 0.1}), {}, {"mismatch"}, set()),
        (
            of_gates(divergence={"measure": "Cosine", "limit": 0.1}),
            of_gates(divergence={"measure": "Cosine", "limit": 0.2}),
            {"mismatch"},
            set(),
        ),
        ({}, of_gates(divergence={"output": "boxes"}), {"mismatch"}, set()),
        ({}, of_gates(latency={"p99": "80ms"}), {"latency"}, set()),
        ({}, {"escalation": {"below": 0.6}}, set(), {"mismatch", "answers", "escalation"}),
        ({"escalation": {"below": 0.6}}, {"escalation": {"below": 0.7}}, set(), {"mismatch", "answers", "escalation"}),
        (
            {"escalation": {"below": 0.6}},
            {"escalation": {"below": 0.6, "confidence": "Margin"}},
            set(),
            {"mismatch", "answers", "escalation"},
        ),
        ({"escalation": {"below": 0.6}}, {"escalation": {"below": 0.6, "budget": 0.2}}, set(), {"mismatch", "answers"}),
        ({"escalation": {"below": 0.6}}, {"escalation": REVIEW}, set(), {"mismatch", "answers"}),
        ({"escalation": REVIEW}, {"escalation": {**REVIEW, "below": 0.7}}, set(), {"escalation"}),
        ({}, {"runtime": TRITON}, {"mismatch", "answers"}, set()),
        ({"runtime": TRITON}, {}, {"mismatch", "answers"}, set()),
        (
            {"runtime": TRITON},
            {"runtime": {"type": "Triton", "server": {"image": "nvcr.io/nvidia/tritonserver@sha256:" + "d" * 64}}},
            {"mismatch", "answers"},
            set(),
        ),
        (
            {"runtime": TRITON},
            {"runtime": {"type": "Custom", "server": {**TRITON["server"], "args": ["serve"]}}},  # type: ignore[dict-item]
            {"mismatch", "answers"},
            set(),
        ),
    ],
)
def test_what_gives_counters_another_meaning_is_seen_in_both_directions(
    before: dict[str, Any], after: dict[str, Any], both: set[str], int8_alone: set[str]
) -> None:
    assert behind(before, after) == (both, both | int8_alone)
    assert behind(after, before) == (both, both | int8_alone)


@pytest.mark.parametrize(
    "changes",
    [
        of_gates(mismatch=0.5, errors=0.5, inputRange=0.2),
        {"rollout": {"shadow": {"ratio": 0.9}}},
        {"critical": {"path": "/critical"}},
        {"runtime": {"replicas": 3, "resources": {"cpu": "3", "memory": "3Gi"}, "nodeSelector": {"a": "b"}}},
        {"runtime": {"image": "registry.example.com/another:2"}},
    ],
)
def test_what_only_rolls_the_pods_does_not(changes: dict[str, Any]) -> None:
    assert behind({}, changes) == (set(), set())


def test_the_port_of_a_server_and_what_the_operator_tells_triton_are_no_other_server() -> None:
    moved = {"type": "Triton", "server": {**TRITON["server"], "port": 8004}}  # type: ignore[dict-item]
    assert behind({"runtime": TRITON}, {"runtime": moved}) == (set(), set())
    wanted, _ = pods(runtime=TRITON)
    upgraded = [
        {**each, "args": [*each["args"][:-1], "--exit-timeout-secs=9"]} if each["name"] == "model" else each
        for each in wanted["initContainers"]
    ]
    assert outdated(wanted, {**wanted, "initContainers": upgraded}) == frozenset()


def test_a_pod_that_others_changed_is_still_known() -> None:
    """A mesh adds its sidecar, and images come by a mirror."""
    wanted, _ = pods(runtime=TRITON)
    mirrored = [
        {**each, "image": f"mirror.example.com/triton{DIGEST}"} if each["name"] == "model" else each
        for each in wanted["initContainers"]
    ]
    proxy = {"name": "proxy", "args": ["--divergence=cosine"]}
    seen = {**wanted, "containers": [proxy, *wanted["containers"]], "initContainers": [*mirrored, proxy]}
    assert outdated(wanted, seen) == frozenset()


def test_a_tag_in_place_of_the_digest_says_nothing() -> None:
    wanted, _ = pods(runtime=TRITON)
    tagged = [
        {**each, "image": "mirror.example.com:5000/triton:26.01"} if each["name"] == "model" else each
        for each in wanted["initContainers"]
    ]
    assert outdated(wanted, {**wanted, "initContainers": tagged}) == frozenset()
    assert outdated(wanted, {**wanted, "initContainers": []}) == {"mismatch", "answers"}


def test_the_words_of_an_older_operator_are_understood() -> None:
    """In another order, with a flag that is no more, and without those that are new."""
    wanted, _ = pods(gates={"divergence": {"measure": "Cosine", "limit": 0.1}})
    words = ["serve", "--divergence-limit=0.1", "--old-flag=1", "--divergence=cosine", "/models/model.onnx"]
    assert outdated(wanted, {"containers": [{"name": "server", "args": words}]}) == frozenset()


@pytest.mark.parametrize("stranger", [{}, {"containers": [{"name": "server"}]}, {"containers": [{"name": "another"}]}])
def test_a_pod_that_says_nothing_counts_nothing(stranger: dict[str, Any]) -> None:
    wanted, _ = pods()
    assert outdated(wanted, stranger) == frozenset()
