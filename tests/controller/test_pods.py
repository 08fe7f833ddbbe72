"""What pods say of themselves."""

import json
from typing import Any

from quanary.api.v1alpha1 import Verdict
from quanary.controller import pods
from quanary.wire.report import ArtifactFigures, Handover, Opening, Refusal


def pod(*, ready: bool = True, init: Any = (), main: Any = (), going: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {})},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "initContainerStatuses": list(init),
            "containerStatuses": list(main),
        },
    }


def ended(message: str, code: int = 1, *, last: bool = False, waiting: str = "") -> dict[str, Any]:
    state: dict[str, Any] = {"terminated": {"exitCode": code, "message": message, "reason": "Error"}}
    if not last:
        return {"name": "fetch", "restartCount": 1, "state": state}
    return {"name": "fetch", "restartCount": 2, "state": {"waiting": {"reason": waiting}}, "lastState": state}


REFUSAL = Refusal(field="spec.model.sha256", found="aa", allowed="bb")
REFUSED = json.dumps({"refusal": REFUSAL.model_dump()})


def test_only_ready_pods_that_stay_count() -> None:
    assert pods.count_ready([pod(), pod(ready=False), pod(going=True)]) == 1


def test_restarts_of_all_containers_add_up() -> None:
    assert pods.count_restarts([pod(main=[{"restartCount": 2}, {"restartCount": 1}]), pod()]) == 3


def test_restarts_of_a_sidecar_count_and_those_of_a_fetch_do_not() -> None:
    found = pod(init=[{"name": "fetch", "restartCount": 5}, {"name": "model", "restartCount": 2}])
    found["spec"] = {"initContainers": [{"name": "fetch"}, {"name": "model", "restartPolicy": "Always"}]}
    assert pods.count_restarts([found]) == 2


def test_a_refusal_of_the_fetch_container_is_told_at_once() -> None:
    assert pods.failure([pod(init=[ended(REFUSED)])]) == REFUSAL.sentence


def test_a_refusal_is_still_told_while_the_container_waits_to_be_restarted() -> None:
    assert pods.failure([pod(init=[ended(REFUSED, last=True, waiting="CrashLoopBackOff")])]) == REFUSAL.sentence


def test_a_server_that_refuses_its_cpu_is_heard_between_its_restarts() -> None:
    again = ended(REFUSED, last=True, waiting="CrashLoopBackOff")
    assert pods.refusal([pod(ready=False, main=[again])]) == REFUSAL.sentence


def test_a_refused_fetch_says_nothing_against_pods_that_serve() -> None:
    assert pods.refusal([pod(ready=False, init=[ended(REFUSED)])]) == ""


def test_a_pod_that_is_ready_or_going_refuses_nothing() -> None:
    refused = [ended(REFUSED, last=True, waiting="")]
    assert pods.refusal([pod(main=refused), pod(ready=False, going=True, main=refused)]) == ""


def test_a_crash_is_no_refusal() -> None:
    assert pods.refusal([pod(ready=False, main=[ended("Killed")])]) == ""


def test_a_crash_loop_tells_its_last_words() -> None:
    text = pods.failure([pod(main=[ended("no such operator: Foo", last=True, waiting="CrashLoopBackOff")])])
    assert text == "container fetch keeps failing: no such operator: Foo"


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    waiting = {"name": "server", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    assert pods.failure([pod(main=[waiting])]) == "container server: ErrImagePull: no such image"


def test_healthy_pods_have_no_failure() -> None:
    assert pods.failure([pod(main=[{"name": "server", "restartCount": 0, "state": {"running": {}}}])]) == ""


def test_a_result_counts_before_the_refusal_of_an_earlier_attempt() -> None:
    figures = ArtifactFigures(file="m", sha256="a" * 64, size_ratio=1, latency_ratio=1)
    result = Handover(inputs="i", verdict=Verdict.BENEFICIAL, artifact=figures)
    refused = Handover(inputs="i", refusal=REFUSAL)
    attempts = [pod(main=[ended(refused.to_message())]), pod(main=[ended(result.to_message(), 0)])]
    assert pods.handover(attempts) == result


def test_a_log_tail_is_no_handover_but_the_last_words() -> None:
    failed = [pod(main=[ended("Killed")])]
    assert pods.handover(failed) is None
    assert "exit code 1" in pods.last_words(failed)


def test_what_a_killed_quantizer_opened_is_no_result_and_not_why_it_ended() -> None:
    early = Handover(inputs="i", opening=Opening(data="d" * 64, number=1, artifacts=("a" * 64,)))
    killed = [pod(main=[ended(early.to_message())])]
    assert pods.handover(killed) is None
    assert pods.openings(killed) == (early.opening,)
    assert pods.last_words(killed).endswith("exit code 1")


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"metadata": {"name": "p"}, "status": {"conditions": [condition]}}


def test_a_claim_that_is_missing_is_named() -> None:
    text = '0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available.'
    assert pods.failure([unscheduled(text)]) == text


def test_want_of_cpu_may_pass() -> None:
    assert pods.failure([unscheduled("0/1 nodes are available: 1 Insufficient cpu.")]) == ""
