"""Both variants run by a real Triton behind the front: certified, shifted, rolled back, and back after Triton dies.

The server is that of PyPI's nvidia-pytriton, which has Python's backend alone; ONNX Runtime runs in that, under the
name of NVIDIA's own backend (e2e/triton/backends). Arguments and model repository are those of any Triton pod.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster import images, paths
from e2e.cluster.kubectl import kubectl
from e2e.demo import examples, kube, stories
from e2e.demo.kube import wait_for
from e2e.demo.load import Answer
from e2e.demo.outcome import Rollback
from quanary.api import names
from quanary.api.names import short

EXAMPLE = "silero-vad-triton"
FAULT = "errors"
NAME = f"{EXAMPLE}-{FAULT}"
IMAGE = "quanary/tritonserver:dev"

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def rollback(stage: stories.Stage) -> Iterator[Rollback]:
    """Of a model that Triton runs and whose INT8 variant turns bad at half of the traffic."""
    images.build(paths.REPO / "e2e/triton", IMAGE)
    manifest = examples.faulty(examples.load(EXAMPLE), FAULT, stage.test_image)
    manifest["spec"]["runtime"]["server"]["image"] = images.bring_pinned(IMAGE)
    try:
        yield stories.fault_of(stage, manifest, FAULT, stays=True)
    finally:
        stage.load.aim(NAME, 0)
        kube.delete(stage.namespace, NAME)


def test_what_turns_bad_is_taken_off_traffic_and_condemned(rollback: Rollback) -> None:
    assert rollback.first_bad_answer_to_weight_zero_seconds is not None, rollback.reason
    assert rollback.condemned, rollback.reason


@pytest.mark.usefixtures("rollback")
def test_both_variants_answered_users_as_float_does_and_nothing_else_failed(stage: stories.Stage) -> None:
    status = kube.model(stage.namespace, NAME)["status"]
    answers = stage.load.answers(NAME)
    digests = {each.digest for each in answers if not each.has_failed and not each.is_injected}
    assert digests == {short(status["source"]["sha256"]), short(status["condemned"][-1]["digest"])}
    assert [each for each in answers if each.has_failed and not each.is_injected] == []
    said = [each for each in answers if each.digest == short(status["source"]["sha256"]) and not each.is_injected]
    assert all(each.top1 == each.right for each in said)
    assert len(said) > 200


@pytest.mark.usefixtures("rollback")
def test_the_model_is_in_a_triton_that_nobody_else_reaches(stage: stories.Stage) -> None:
    pod = float_pod(stage)
    log = kubectl("logs", pod["metadata"]["name"], f"--namespace={stage.namespace}", "--container=model")
    assert f"successfully loaded '{NAME}'" in log
    assert "Started HTTPService at 127.0.0.1:8000" in log
    assert "Started GRPCInferenceService" not in log


@pytest.mark.usefixtures("rollback")
def test_the_front_answers_again_after_triton_died(stage: stories.Stage) -> None:
    stage.load.aim(NAME, 0)
    wait_for("the last answers have come", lambda: not stage.load.under_way(NAME), 30)
    kubectl(
        *("exec", float_pod(stage)["metadata"]["name"], f"--namespace={stage.namespace}", "--container=model", "--"),
        *("/bin/sh", "-c", "kill 1"),
    )
    # That the pod was unready meanwhile may be over before anybody looks.
    wait_for("Triton was restarted", lambda: restarts(float_pod(stage))["model"], 60)
    wait_for("the pod is ready", lambda: is_ready(stage), 120)
    since = time.time()
    stage.load.aim(NAME, 5)
    wait_for("float answers", lambda: len(well_answered(stage, since)) > 20, 60)
    assert restarts(float_pod(stage)) == {"fetch": 0, "repository": 0, "model": 1, "server": 0}


def float_pod(stage: stories.Stage) -> dict[str, Any]:
    [pod] = kube.pods(stage.namespace, f"{names.LABEL_MODEL}={NAME},{names.LABEL_VARIANT}=float")
    return pod


def well_answered(stage: stories.Stage, since: float) -> list[Answer]:
    return [each for each in stage.load.answers(NAME, since) if each.status == 200 and each.top1 == each.right]


def is_ready(stage: stories.Stage) -> bool:
    conditions = float_pod(stage)["status"]["conditions"]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def restarts(pod: dict[str, Any]) -> dict[str, int]:
    status = pod["status"]
    return {
        each["name"]: each["restartCount"] for each in (*status["initContainerStatuses"], *status["containerStatuses"])
    }
