"""What a serving pod is told and given."""

from dataclasses import replace
from typing import Any

import pytest

from quanary.controller.decision import Running
from quanary.server.settings import Settings
from quanary.wire.launch import SPOOL_BYTES_LIMIT, FetchArguments, RepositoryArguments, ServeArguments
from tests.controller.models import FLOAT, FLOAT_ALONE, INT8_RUNNING, built, canary, spec
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


def test_only_what_is_reviewed_has_a_spool() -> None:
    review = {"below": 0.6, "to": "Review", "sink": "http://reviews.other.svc/in"}
    for escalation, variants in ((review, ["int8"]), ({"below": 0.6}, []), (None, [])):
        manifests = built(canary(0), spec(escalation=escalation))
        mounted = []
        for each in manifests.deployments:
            pod = each["spec"]["template"]["spec"]
            mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "spool"]
            volumes = [volume for volume in pod["volumes"] if volume["name"] == "spool"]
            assert len(mounts) == len(volumes)
            if mounts:
                assert served(pod).review_spool == mounts[0]
                assert served(pod).review_sink == "http://reviews.other.svc/in"
                # An evicted pod would lose everything: the volume holds more than the server puts there.
                assert volumes == [{"name": "spool", "emptyDir": {"sizeLimit": "384Mi"}}]
                assert SPOOL_BYTES_LIMIT < 384 * 2**20
                mounted.append(served(pod).variant)
        assert mounted == variants


def test_escalation_is_int8_s_alone_and_its_settings_fit() -> None:
    for escalation in ({"below": 0.6}, {"below": 0.5, "to": "Review", "sink": "https://reviews", "budget": 0.5}):
        for each in built(canary(0), spec(escalation=escalation)).deployments:
            arguments = served(each["spec"]["template"]["spec"])
            assert Settings.of(arguments).arguments == arguments
            assert bool(arguments.escalate_below) == (arguments.variant == "int8")


TRITON: dict[str, Any] = {
    "type": "Triton",
    "server": {"image": f"team/triton@sha256:{'d' * 64}", "front": {"cpu": "250m", "memory": "200Mi"}},
    "resources": {"cpu": "2", "memory": "1Gi"},
}
OPENVINO: dict[str, Any] = {
    "type": "Custom",
    "server": {"image": f"team/openvino@sha256:{'e' * 64}", "port": 8001, "args": ["--rest_port=8001"]},
}


def behind(runtime: dict[str, Any]) -> list[dict[str, Any]]:
    """Both pods."""
    manifests = built(canary(0), spec(runtime=runtime))
    return [each["spec"]["template"]["spec"] for each in manifests.deployments]


def test_the_server_behind_starts_before_the_front_and_ends_after_it() -> None:
    for pod in behind(TRITON):
        fetch, repository, model = pod["initContainers"]
        assert [each["name"] for each in (fetch, repository, model)] == ["fetch", "repository", "model"]
        assert [each.get("restartPolicy") for each in (fetch, repository, model)] == [None, None, "Always"]
        # A sidecar whose start is waited for would wait for the front, which starts after it.
        assert "startupProbe" not in model
        assert [each["name"] for each in pod["containers"]] == ["server"]


def test_what_runs_the_model_has_its_resources_and_the_front_its_own() -> None:
    for pod in behind(TRITON):
        _, repository, model = pod["initContainers"]
        limits = [each["resources"]["limits"] for each in (repository, model, pod["containers"][0])]
        assert [(each["cpu"], each["memory"]) for each in limits] == [("2", "1Gi"), ("2", "1Gi"), ("250m", "200Mi")]


def test_triton_is_reached_by_nobody_but_the_front() -> None:
    for pod in behind(TRITON):
        model = pod["initContainers"][2]
        words = model["args"]
        assert words[0] == "tritonserver"
        assert {"--http-address=127.0.0.1", "--http-port=8000", "--allow-grpc=false", "--allow-metrics=false"} < set(
            words
        )
        assert "--model-control-mode=none" in words
        assert "ports" not in model
        assert served(pod).upstream == "http://127.0.0.1:8000"


def test_its_repository_is_written_under_the_public_name_beside_the_file() -> None:
    for pod, field in zip(behind(TRITON), ("spec.model", "artifact"), strict=True):
        arguments = RepositoryArguments.parse(pod["initContainers"][1]["args"][1:])
        assert (arguments.name, arguments.model, arguments.field) == ("digits", served(pod).model, field)
        assert f"--model-repository={arguments.out}" in pod["initContainers"][2]["args"]
        assert arguments.latency_budget_seconds == served(pod).latency_budget_seconds


def test_the_server_behind_may_read_the_model_and_write_a_folder_of_its_own() -> None:
    for pod in behind(TRITON):
        model, server = pod["initContainers"][2], pod["containers"][0]
        mounts = {each["mountPath"]: each for each in model["volumeMounts"]}
        assert mounts["/models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
        assert mounts["/tmp"]["name"] not in {each["name"] for each in server["volumeMounts"]}
        assert {each["name"] for each in pod["volumes"]} >= {each["name"] for each in model["volumeMounts"]}


def test_its_liveness_is_asked_of_the_front() -> None:
    model, server = behind(TRITON)[0]["initContainers"][2], behind(TRITON)[0]["containers"][0]
    probe = model["livenessProbe"]["httpGet"]
    assert probe["path"] == "/upstream/live"
    assert probe["port"] in {each["containerPort"] for each in server["ports"] if each["name"] == "metrics"}


def test_another_server_gets_the_arguments_that_the_resource_gives() -> None:
    for pod in behind(OPENVINO):
        model = pod["initContainers"][2]
        assert (model["image"], model["args"]) == (f"team/openvino@sha256:{'e' * 64}", ["--rest_port=8001"])
        assert served(pod).upstream == "http://127.0.0.1:8001"


def test_without_another_server_there_is_none() -> None:
    for pod in pods(REMOTE, INT8_RUNNING):
        assert [each["name"] for each in pod["initContainers"]] == ["fetch"]
        assert served(pod).upstream == ""


@pytest.mark.parametrize(("uri", "report"), [("oci://r/a:1", "/models/report.json"), ("https://r/a.onnx", "")])
def test_the_report_comes_with_a_published_artifact(uri: str, report: str) -> None:
    float_pod, int8_pod = pods(REMOTE, replace(INT8_RUNNING, uri=uri))
    fetched = FetchArguments.parse(int8_pod["initContainers"][0]["args"][1:])
    assert fetched.report_out == report
    assert served(int8_pod).report == "/models/report.json"
    assert FetchArguments.parse(float_pod["initContainers"][0]["args"][1:]).report_out == served(float_pod).report == ""
