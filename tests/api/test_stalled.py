"""What only a look at the world can tell: stage Stalled, the field named, what was found and what is allowed.

A real API server holds every object; the kubelet's part (what pods say of themselves) is written by hand.
"""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubernetes.dynamic import DynamicClient

from quanary.api import names
from quanary.api.v1alpha1 import QuantizedModelStatus, Verdict
from quanary.controller.cache import Cache
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.cluster import ApiCluster
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics
from quanary.controller.reconcile import reconcile
from quanary.controller.resync import list_everything
from quanary.controller.settings import Settings
from quanary.controller.world import World
from quanary.wire.launch import ServeArguments
from quanary.wire.report import ArtifactFigures, FrontEntry, Handover, Opening, Refusal
from tests.api.test_apply import gateway_api
from tests.controller.models import FLOAT, INT8, SPEC, spec
from tests.controller.world import Traffic

__all__ = ["gateway_api"]

NUMBERS = itertools.count()


@dataclass
class Town:
    """A namespace with one model in it."""

    client: DynamicClient
    cluster: ApiCluster
    key: ModelKey
    settings: Settings = field(default_factory=Settings)
    late: timedelta = timedelta(0)

    def api(self, api_version: str, kind: str) -> Any:
        return self.client.resources.get(api_version=api_version, kind=kind)

    def create(self, **changes: Any) -> None:
        """A user applies the resource."""
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace},
            "spec": SPEC | changes,
        }
        self.api(names.API_VERSION, names.KIND).create(body=body, namespace=self.key.namespace)

    async def reconcile(self, times: int = 1) -> None:
        """An operator that starts afresh each time."""
        telemetry: Any = Traffic()
        for _ in range(times):
            cache = Cache()
            await list_everything(self.cluster, cache, self.settings)
            now = datetime.now(UTC) + self.late
            await reconcile(World(self.cluster, cache, telemetry, self.settings, lambda: now, Metrics()), self.key)  # noqa: B023

    def pod(self, labels: dict[str, str], status: dict[str, Any]) -> None:
        """A pod of ours, and what its kubelet says of it."""
        name, where = f"pod-{next(NUMBERS)}", self.key.namespace
        metadata = {"name": name, "namespace": where, "labels": {**labels, names.LABEL_MANAGED_BY: names.MANAGED_BY}}
        pods = self.api("v1", "Pod")
        body = {"metadata": metadata, "spec": {"containers": [{"name": "server", "image": "none"}]}}
        pods.create(body={"apiVersion": "v1", "kind": "Pod", **body}, namespace=where)
        pods.status.patch(
            body={"status": status}, name=name, namespace=where, content_type="application/merge-patch+json"
        )

    def float_pod(self, status: dict[str, Any]) -> None:
        """Of the float variant."""
        self.pod({names.LABEL_MODEL: self.key.name, names.LABEL_DIGEST: names.short(FLOAT)}, status)

    def serve_float(self) -> None:
        """Float pods are ready, and their Deployment knows."""
        self.float_pod({"conditions": [{"type": "Ready", "status": "True"}]})
        counts = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        self.api("apps/v1", "Deployment").status.patch(
            body={"status": {**counts, "observedGeneration": 1}},
            name=names.variant_name(self.key.name, "float", FLOAT),
            namespace=self.key.namespace,
            content_type="application/merge-patch+json",
        )

    def status(self) -> dict[str, Any]:
        found = self.api(names.API_VERSION, names.KIND).get(name=self.key.name, namespace=self.key.namespace)
        status: dict[str, Any] = found.to_dict()["status"]
        return status

    def assert_stalled(self, *words: str) -> None:
        """Stalled, and the reason says all of `words`."""
        status = self.status()
        assert status["stage"] == "Stalled", status["because"]
        for word in words:
            assert word in status["because"]
        states = {each["type"]: each["status"] for each in status["conditions"]}
        assert states["Stalled"] == "True"
        assert status["observedGeneration"] == 1


def refused(refusal: Refusal, message: str) -> dict[str, Any]:
    ended = {"exitCode": 1, "message": message, "reason": "Error"}
    container = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {"initContainerStatuses": [{**container, "state": {"terminated": ended}}]}


@pytest.fixture
async def town(
    gateway_api: None, client: DynamicClient, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    namespace = f"stalled-{next(NUMBERS)}"
    for kind, name, where in (("Namespace", namespace, ""), ("ServiceAccount", "default", namespace)):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        client.resources.get(api_version="v1", kind=kind).create(body=body, **({"namespace": where} if where else {}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with ApiCluster.connect() as cluster:
        yield Town(client, cluster, ModelKey(namespace, "digits"))


async def test_a_model_with_another_digest(town: Town) -> None:
    town.create()
    await town.reconcile()
    refusal = Refusal(field="spec.model.sha256", found="0000", allowed=FLOAT)
    town.float_pod(refused(refusal, refusal.to_message()))
    await town.reconcile()
    town.assert_stalled("spec.model.sha256", "found 0000", FLOAT)


async def test_a_model_that_is_not_there(town: Town) -> None:
    town.create()
    await town.reconcile()
    refusal = Refusal(field="spec.model.uri", found="404 at https://models.example.com", allowed="a file that exists")
    town.float_pod(refused(refusal, refusal.to_message()))
    await town.reconcile()
    town.assert_stalled("spec.model.uri", "404", "a file that exists")


async def test_a_gateway_that_is_missing(town: Town) -> None:
    town.create()
    await town.reconcile()
    town.serve_float()
    await town.reconcile(3)
    assert town.status()["stage"] == "Quantizing"
    town.late = timedelta(seconds=60)
    await town.reconcile()
    town.assert_stalled("spec.route.parentRefs", "gateways/public", "a Gateway that exists")


async def test_data_that_the_quantizer_refuses(town: Town) -> None:
    town.create()
    await town.reconcile()
    town.serve_float()
    await town.reconcile(3)
    refusal = Refusal(field="spec.quantization.calibration.data.uri", found="NaN in sample 3", allowed="finite numbers")
    job = names.job_name(town.key.name, inputs_digest(spec()))
    message = Handover(inputs=inputs_digest(spec()), refusal=refusal).to_message()
    town.pod({"batch.kubernetes.io/job-name": job}, refused(refusal, message))
    await town.reconcile()
    town.assert_stalled("spec.quantization.calibration.data.uri", "NaN in sample 3", "finite numbers")


async def test_a_name_that_somebody_else_holds(town: Town) -> None:
    service = {"metadata": {"name": "digits-twin"}, "spec": {"ports": [{"port": 80}]}}
    body = {"apiVersion": "v1", "kind": "Service", **service}
    town.api("v1", "Service").create(body=body, namespace=town.key.namespace)
    town.create()
    await town.reconcile()
    town.assert_stalled("Service digits-twin", "nobody")


async def test_an_image_and_a_host_that_the_operator_does_not_allow(town: Town) -> None:
    town.create(runtime={"image": "elsewhere/runtime:1"})
    await town.reconcile()
    town.assert_stalled("spec.runtime.image", "elsewhere/runtime:1", "allowed by the operator")


async def test_a_server_that_the_operator_does_not_allow(town: Town) -> None:
    image = f"elsewhere/tritonserver@sha256:{'d' * 64}"
    town.create(runtime={"type": "Triton", "server": {"image": image}})
    await town.reconcile()
    town.assert_stalled("spec.runtime.server.image", image, "allowed by the operator")


CERTIFIED_ON = ("avx2", "avx512_vnni", "avx512f")
SAFER = "c" * 64


async def quantized(town: Town) -> None:
    """The quantizer handed over an artifact that is not portable, a safer one, and what it opened."""
    town.create(rollback={"to": "SaferArtifact"})
    await town.reconcile()
    town.serve_float()
    await town.reconcile(3)
    inputs = inputs_digest(spec())
    handover = Handover(
        inputs=inputs,
        verdict=Verdict.BENEFICIAL,
        because="faster",
        artifact=ArtifactFigures(file="m", sha256=INT8, size_ratio=0.3, latency_ratio=2.0, portable=False),
        uri="oci://registry.example.com/digits@sha256:" + "b" * 64,
        front=(FrontEntry(sha256=SAFER, role="safest", size_ratio=0.6, drop_upper_bound=0.001, safer=True),),
        opening=Opening(data="2" * 64, number=1, artifacts=(SAFER, INT8)),
        cpu_features=CERTIFIED_ON,
    )
    ended = {"exitCode": 0, "message": handover.to_message(), "reason": "Completed"}
    container = {"name": "quantizer", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    status = {"containerStatuses": [{**container, "state": {"terminated": ended}}]}
    town.pod({"batch.kubernetes.io/job-name": names.job_name(town.key.name, inputs)}, status)
    await town.reconcile(3)


async def test_front_seal_and_cpu_stand_in_the_status_of_a_real_server(town: Town) -> None:
    await quantized(town)
    status = QuantizedModelStatus.model_validate(town.status())
    assert status.stage == "Shadowing", status.because
    assert status.candidate
    assert (status.candidate.portable, status.candidate.cpu_features) == (False, CERTIFIED_ON)
    assert [(each.digest, each.safer) for each in status.front] == [(SAFER, True)]
    assert [(each.number, each.artifacts) for each in status.seal] == [(1, (SAFER, INT8))]


async def test_a_node_on_whose_cpu_the_certificate_does_not_hold(town: Town) -> None:
    await quantized(town)
    name = names.variant_name(town.key.name, "int8", INT8)
    deployment = town.api("apps/v1", "Deployment").get(name=name, namespace=town.key.namespace).to_dict()
    [server] = deployment["spec"]["template"]["spec"]["containers"]
    assert ServeArguments.parse(server["args"][1:]).cpu_features == ",".join(CERTIFIED_ON)
    refusal = Refusal(field="spec.runtime.nodeSelector", found="a CPU with avx2", allowed=f"{', '.join(CERTIFIED_ON)}")
    refusing = refused(refusal, refusal.to_message())["initContainerStatuses"]
    labels = {names.LABEL_MODEL: town.key.name, names.LABEL_DIGEST: names.short(INT8)}
    town.pod(labels, {"containerStatuses": [{**refusing[0], "name": "server"}]})
    await town.reconcile()
    town.assert_stalled("spec.runtime.nodeSelector", "a CPU with avx2", "avx512_vnni")
    assert {each["variant"]: each["desired"] for each in town.status()["weights"]} == {"float": 1000, "int8": 0}


async def test_a_claim_that_is_not_there(town: Town) -> None:
    town.create()
    await town.reconcile()
    town.serve_float()
    await town.reconcile(3)
    text = 'persistentvolumeclaim "data" not found'
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
    job = names.job_name(town.key.name, inputs_digest(spec()))
    town.pod({"batch.kubernetes.io/job-name": job}, {"conditions": [condition]})
    await town.reconcile()
    town.assert_stalled("the quantizer cannot start", text)
