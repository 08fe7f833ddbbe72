"""What a serving pod is told and given."""

from dataclasses import replace
from typing import Any

import pytest

from quanary.controller.decision import Running
from quanary.wire.launch import ServeArguments
from tests.controller.models import FLOAT, FLOAT_ALONE, INT8_RUNNING, built, canary
from tests.controller.models import FLOAT_RUNNING as REMOTE


def pods(*running: Running) -> list[dict[str, Any]]:
    float_ = next(each for each in running if each.variant == "float")
    target = canary(0) if len(running) > 1 else FLOAT_ALONE
    manifests = built(replace(target, running=running, float_digest=float_.digest))
    return [each["spec"]["template"]["spec"] for each in manifests.deployments]


def served(pod: dict[str, Any]) -> ServeArguments:
    return ServeArguments.parse(pod["containers"][0]["args"][1:])


@pytest.mark.parametrize(("portable", "needed"), [(False, "avx2,avx512_vnni"), (True, "")])
def test_only_what_is_not_portable_is_bound_to_its_cpu(portable: bool, needed: str) -> None:
    int8 = replace(INT8_RUNNING, cpu_features=("avx2", "avx512_vnni"), portable=portable)
    float_pod, int8_pod = pods(REMOTE, int8)
    assert (served(int8_pod).cpu_features, served(int8_pod).certified_on) == (needed, "avx2,avx512_vnni")
    assert (served(float_pod).cpu_features, served(float_pod).certified_on) == ("", "")
    assert served(int8_pod).termination_log == int8_pod["containers"][0]["terminationMessagePath"]


def test_a_claim_is_mounted_where_the_model_is_fetched_and_not_where_it_is_served() -> None:
    [pod] = pods(Running("float", FLOAT, "pvc://models/a/m.onnx"))
    mount = {"name": "claim-0", "mountPath": "/pvc/models", "readOnly": True}
    assert mount in pod["initContainers"][0]["volumeMounts"]
    assert mount not in pod["containers"][0]["volumeMounts"]
    assert {"name": "claim-0", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}} in pod["volumes"]
