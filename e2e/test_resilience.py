"""One healthy canary through what happens to clusters: a dead operator, no Prometheus, an edited spec, a deletion."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.kubectl import get, kubectl
from e2e.demo import kube, stories
from e2e.demo.kube import wait_for, wait_for_stage
from e2e.demo.load import tally
from e2e.demo.setup import SYSTEM_NAMESPACE
from quanary.api import names

# Few enough that the 4,000 distinct inputs last: proof and steps count each once an hour.
RATE = 10.0

# A fixture brings a model up to traffic, and every wait of its own is bounded.
pytestmark = pytest.mark.timeout(1800)

CHILDREN = "deployments,services,jobs,pods,networkpolicies,httproutes.gateway.networking.k8s.io"


@pytest.fixture(scope="module")
def canary(stage: stories.Stage) -> Iterator[str]:
    """A good artifact on its way up, with steps that last."""
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = "silero-vad-canary"
    manifest["spec"]["rollout"] |= {"steps": [10, 20, 100], "dwell": "45s"}
    manifest["spec"]["gates"]["mismatch"] = 0.1  # proven in half the time
    name = stories.bring_up(stage, manifest, RATE)
    wait_for(f"{name} carries traffic", lambda: stage.chronicle.weight_of(name), 900, every=0.5)
    yield name
    stage.load.aim(name, 0)
    kube.delete(stage.namespace, name)


def status_of(stage: stories.Stage, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.model(stage.namespace, name)["status"]
    return found


def test_a_killed_operator_resumes_without_a_lost_or_repeated_step(stage: stories.Stage, canary: str) -> None:
    before = status_of(stage, canary)["progress"]
    assert before["step"] == 10
    kubectl(
        "delete", "pods", f"--namespace={SYSTEM_NAMESPACE}", "--selector=app.kubernetes.io/name=quanary",
        "--force", "--grace-period=0",
    )  # fmt: skip
    wait_for("the next step", lambda: stage.chronicle.weight_of(canary) == 200, 480, every=0.5)
    weights = [each.weight for each in stage.chronicle.weights_of(canary)]
    assert weights == [0, 100, 200]
    steps = [each["because"] for each in status_of(stage, canary)["history"] if each["stage"] == "Canary"]
    assert [text.partition(":")[0] for text in steps] == ["INT8 at 10 %", "INT8 at 20 %"]


def test_without_prometheus_a_healthy_canary_holds_and_goes_on_after(stage: stories.Stage, canary: str) -> None:
    scale = ("scale", "deployment/prometheus", "--namespace=monitoring")
    kubectl(*scale, "--replicas=0")
    try:
        held = wait_for_stage(stage.namespace, canary, ("Held",), 60)["status"]
        assert "Prometheus" in held["because"]
        assert held["progress"]["step"] == 20
        with pytest.raises(kube.TooLateError):
            wait_for("a weight that moves", lambda: stage.chronicle.weight_of(canary) != 200, 45)
    finally:
        kubectl(*scale, "--replicas=1")
    kubectl("rollout", "status", "deployment/prometheus", "--namespace=monitoring", "--timeout=120s")
    wait_for("the next step", lambda: stage.chronicle.weight_of(canary) == 1000, 600, every=0.5)
    assert status_of(stage, canary)["condemned"] == []


def test_an_edited_spec_takes_the_candidate_off_traffic_and_begins_anew(stage: stories.Stage, canary: str) -> None:
    patch = '{"spec": {"validation": {"maxDrop": 0.04}, "rollout": {"steps": [10, 100], "dwell": "1h"}}}'
    kubectl("patch", names.PLURAL, canary, f"--namespace={stage.namespace}", "--type=merge", f"--patch={patch}")
    wait_for_stage(stage.namespace, canary, ("Quantizing", "Shadowing"), 60)
    wait_for_stage(stage.namespace, canary, ("Shadowing", "Promoted", "Canary"), 600)
    seen = kube.model(stage.namespace, canary)
    assert seen["status"]["observedGeneration"] == seen["metadata"]["generation"]


def test_weights_only_ever_took_declared_values(stage: stories.Stage, canary: str) -> None:
    weights = [each.weight for each in stage.chronicle.weights_of(canary)]
    assert set(weights) <= {0, 100, 200, 1000}
    assert weights[:2] == [0, 100]
    rises = {(old, new) for old, new in itertools.pairwise(weights) if new > old}
    again = (0, 200)  # a step that it had reached, after a retreat; 100 to 1000: the edited spec has no 20 %
    assert rises <= {(0, 100), (100, 200), (200, 1000), (100, 1000), again}


def test_nobody_noticed(stage: stories.Stage, canary: str) -> None:
    counts = tally(stage.load.answers(canary))
    assert counts.failed == 0, counts.failures
    assert counts.sent > 1000


def test_a_flipped_byte_never_serves(stage: stories.Stage) -> None:
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = "silero-vad-flipped"
    manifest["spec"]["model"]["sha256"] = "0" * 64
    kube.apply(stage.namespace, manifest)
    status = wait_for_stage(stage.namespace, "silero-vad-flipped", ("Stalled",), 120)["status"]
    assert "spec.model.sha256" in status["because"]
    assert "0" * 64 in status["because"]
    states = {each["type"]: each["status"] for each in status["conditions"]}
    assert (states["Ready"], states["Stalled"]) == ("False", "True")
    kube.delete(stage.namespace, "silero-vad-flipped")


def test_after_deletion_nothing_is_left_on_the_node(stage: stories.Stage, canary: str) -> None:
    stage.load.aim(canary, 0)
    wait_for("no request under way", lambda: not stage.load.under_way(canary), 30, every=0.2)
    kube.delete(stage.namespace, canary)

    def is_empty() -> bool:
        left = get(
            CHILDREN, f"--namespace={stage.namespace}", f"--selector={names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
        )
        return not left["items"]

    wait_for("nothing of it is left", is_empty, 90)
