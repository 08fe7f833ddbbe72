"""What holds of every child of every target."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.api import names
from quanary.controller.children import Manifests
from quanary.wire.launch import FetchArguments, QuantizeArguments, ServeArguments
from tests.controller.models import FLOAT, INT8, KEY, SETTINGS, UID, built, canary, spec

targets = st.builds(
    canary,
    st.integers(0, 1000),
    twin_digest=st.sampled_from(["", INT8]),
    quantize=st.booleans(),
    keep_all=st.booleans(),
)
BEHIND: dict[str, Any] = {
    "type": "Custom",
    "server": {"image": f"other@sha256:{'d' * 64}", "args": ["--port=8001"], "port": 8001},
}
TELEMETRY_OFF = {"name": "ORT_DISABLE_TELEMETRY", "value": "1"}
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def _pods(manifests: Manifests) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if "template" in manifest["spec"]:
            yield manifest["spec"]["template"]


@settings(deadline=None, max_examples=25)
@given(targets)
def test_every_child_is_ours_alone(target: Any) -> None:
    for manifest in built(target):
        metadata = manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (UID, True, True)
        assert metadata["namespace"] == KEY.namespace
        assert metadata["labels"][names.LABEL_MANAGED_BY] == names.MANAGED_BY
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"])
        yaml.safe_dump(manifest)  # plain data


@settings(deadline=None, max_examples=25)
@given(targets)
def test_no_selector_is_empty_or_spans_two_digests(target: Any) -> None:
    for service in built(target).services:
        assert set(service["spec"]["selector"]) >= {names.LABEL_MODEL, names.LABEL_DIGEST}


def test_a_twin_service_without_a_twin_selects_nobody() -> None:
    services = {
        each["metadata"]["name"]: each["spec"]["selector"] for each in built(canary(0, twin_digest="")).services
    }
    assert services["digits-twin"][names.LABEL_DIGEST] == names.NO_DIGEST
    assert services["digits-float"][names.LABEL_DIGEST] == FLOAT[:10]


@settings(deadline=None, max_examples=25)
@given(targets, st.sampled_from([{}, BEHIND]))
def test_pods_are_restricted(target: Any, runtime: dict[str, Any]) -> None:
    for template in _pods(built(target, spec(runtime=runtime))):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(set(volume["emptyDir"]) == {"sizeLimit"} for volume in pod["volumes"])
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert set(container["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
            # Whoever brings an image brings no settings and no secrets with it.
            assert container.get("env", [TELEMETRY_OFF]) == [TELEMETRY_OFF]


def test_the_quantizer_runs_on_the_cpu_of_a_server_and_is_no_server() -> None:
    manifests = built(canary(0, quantize=True))
    assert manifests.job
    template = manifests.job["spec"]["template"]
    (quantizer,) = template["spec"]["containers"]
    (server,) = manifests.deployments[0]["spec"]["template"]["spec"]["containers"]
    assert quantizer["resources"]["limits"]["cpu"] == server["resources"]["limits"]["cpu"]
    assert names.LABEL_MODEL not in template["metadata"]["labels"]
    assert manifests.job["metadata"]["annotations"][names.ANNOTATION_INPUTS].startswith(
        manifests.job["metadata"]["name"].removeprefix("digits-quantize-")
    )


def test_only_pods_of_the_model_reach_the_twin_port() -> None:
    servers, quantizer = built(canary(0)).policies
    (open_rule, twin_rule) = servers["spec"]["ingress"]
    assert [port["port"] for port in open_rule["ports"]] == [8080, 9000, 9090]
    assert "from" not in open_rule
    assert twin_rule == {
        "from": [{"podSelector": {"matchLabels": {names.LABEL_MODEL: "digits"}}}],
        "ports": [{"port": 8081, "protocol": "TCP"}],
    }
    assert quantizer["spec"]["ingress"] == []


def test_programs_understand_the_arguments_they_are_given() -> None:
    manifests = built(canary(0, quantize=True))
    for deployment, asks in zip(manifests.deployments, ("digits-twin", "digits-float"), strict=True):
        pod = deployment["spec"]["template"]["spec"]
        fetch_words, serve_words = pod["initContainers"][0]["args"], pod["containers"][0]["args"]
        fetch, serve = FetchArguments.parse(fetch_words[1:]), ServeArguments.parse(serve_words[1:])
        assert (fetch_words[0], serve_words[0]) == ("fetch", "serve")
        assert fetch.sha256 == serve.digest
        assert fetch.out == serve.model
        assert serve.twin_url == f"http://{asks}.vision.svc:8081"
        assert (serve.latency_budget_seconds, serve.sample_ratio, serve.critical_header) == (
            0.1,
            0.2,
            "x-critical=true",
        )
    assert manifests.job
    words = manifests.job["spec"]["template"]["spec"]["containers"][0]["args"]
    quantize = QuantizeArguments.parse(words[1:])
    assert (words[0], quantize.metric, quantize.publish) == (
        "quantize",
        "agreement",
        "oci://registry.example.com/digits",
    )


def test_a_provided_model_is_judged_without_calibration() -> None:
    provided = {"strategy": "Provided", "provided": {"uri": "https://models.example.com/int8.onnx", "sha256": "3" * 64}}
    manifests = built(canary(0, quantize=True), spec(quantization=provided))
    assert manifests.job
    words = manifests.job["spec"]["template"]["spec"]["containers"][0]["args"]
    arguments = QuantizeArguments.parse(words[1:])
    assert (arguments.provided_sha256, arguments.calibration) == ("3" * 64, "")


def test_the_operator_image_is_used_unless_the_resource_names_one() -> None:
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(built(canary(0)))} == {SETTINGS.runtime_image}
    own = built(canary(0), spec(runtime={"image": "registry.example.com/own:1"}))
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(own)} == {"registry.example.com/own:1"}
