"""A whole world in memory: an API server that may crash its client at any write, a kubelet, a gateway, live traffic.

Every write is checked as it happens: what must hold, holds at each of them and not only at the end.
"""

from datetime import datetime, timedelta
from typing import Any

from typing_extensions import override

from quanary.api import names
from quanary.api.v1alpha1 import QuantizedModelStatus, Verdict
from quanary.controller.cache import Body, Cache
from quanary.controller.children.route import backend_weights, split_weights
from quanary.controller.cluster import ClusterError
from quanary.controller.decision import ModelKey
from quanary.controller.evidence import Evidence
from quanary.controller.metrics import Metrics
from quanary.controller.reconcile import reconcile
from quanary.controller.resync import list_everything
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Subject
from quanary.controller.world import World
from quanary.wire.report import ArtifactFigures, Handover, Refusal
from tests.controller.fake_cluster import FakeCluster
from tests.controller.scenes import INT8, NOW, evidence, spec_body

KEY = ModelKey("team", "m")


class CrashError(Exception):
    """The operator died."""


class Traffic:
    """Evidence as live traffic gives it; what a test sets in `says` overrides it. Loses nothing at a restart."""

    def __init__(self) -> None:
        self.subject: Subject | None = None
        self.compared = 0
        self.says: dict[str, Any] = {}
        self.against: dict[str, dict[str, Any]] = {}  # by the digest it is said of

    def track(self, subject: Subject, now: datetime) -> None:
        self.subject = subject

    def forget(self, key: ModelKey) -> None:
        self.subject = None

    def revise(self, subject: Subject) -> Evidence | None:
        is_tracked = self.subject is not None and self.subject.identity == subject.identity
        return self._says() if is_tracked else None

    def reading(self, key: ModelKey) -> Evidence | None:
        self.compared += 5000
        return self._says()

    def _says(self) -> Evidence | None:
        if self.subject is None:
            return None
        said = self.says | self.against.get(self.subject.int8_digest, {})
        return evidence(compared_distinct=self.compared, **said)


class CheckedCluster(FakeCluster):
    """Crashes its client before or after write `crash_at`, and checks every route and deletion."""

    crash_at = -1
    crash_after_the_write = False

    @override
    async def apply(self, manifest: Body, *, urgent: bool = False) -> Body:
        if manifest["kind"] == "HTTPRoute":
            self._check_route(manifest)
        self._crash(before=True)
        answer = await super().apply(manifest, urgent=urgent)
        self._crash(before=False)
        return answer

    @override
    async def apply_status(self, manifest: Body) -> Body:
        self._check_status(manifest["status"])
        self._crash(before=True)
        answer = await super().apply_status(manifest)
        self._crash(before=False)
        return answer

    @override
    async def delete(self, body: Body) -> None:
        assert body["metadata"]["name"] not in self._carrying(), "removed while a weight points to it"
        self._crash(before=True)
        await super().delete(body)
        self._crash(before=False)

    def _crash(self, *, before: bool) -> None:
        # A write is in `writes` once it was forwarded.
        number = len(self.writes) + (1 if before else 0)
        if number == self.crash_at and before is not self.crash_after_the_write:
            self.crash_at = -1
            raise CrashError

    def status(self) -> QuantizedModelStatus:
        body = self.objects.get((names.KIND, KEY.namespace, KEY.name), {})
        return QuantizedModelStatus.model_validate(body.get("status") or {})

    def weights(self) -> dict[str, int]:
        """Weight of each Service in the split."""
        route = self.objects.get(("HTTPRoute", KEY.namespace, KEY.name))
        return backend_weights(route) if route else {}

    def _carrying(self) -> set[str]:
        return {name for name, weight in self.weights().items() if weight}

    def _check_route(self, manifest: Body) -> None:
        weights, *others = split_weights(manifest)
        assert sum(weights.values()) == 1000
        assert all(each == weights for each in others)
        critical = manifest["spec"]["rules"][: -len([weights, *others])]
        assert critical
        assert all(ref["name"].startswith("m-float-") for rule in critical for ref in rule["backendRefs"])
        status = self.status()
        known = {each.digest[:10] for each in (status.candidate, status.stable) if each}
        refused = {each.digest[:10] for each in status.condemned}
        for name, weight in weights.items():
            deployment = self.objects.get(("Deployment", KEY.namespace, name))
            assert deployment, f"{name} gets weight without pods"
            assert deployment["status"]["availableReplicas"], f"{name} gets weight without ready pods"
            if "-int8-" in name:
                digest = name.rpartition("-")[2]
                assert digest in known, "INT8 gets weight before the status knows it"
                assert digest not in refused, "a condemned artifact gets weight"
                if status.stable is None or status.stable.digest[:10] != digest:
                    assert weight <= status.progress.step * 10, "beyond the declared step"

    def _check_status(self, status: dict[str, Any]) -> None:
        before = self.status()
        assert status["observedGeneration"] >= before.observed_generation
        gone = {each.digest for each in before.condemned} - {each["digest"] for each in status.get("condemned", [])}
        assert gone <= {status["progress"].get("retried")}, "a condemnation was forgotten"
        after = QuantizedModelStatus.model_validate(status)
        assert set(before.seal) <= set(after.seal), "an opening of the seal was forgotten"


class Stage:
    """One model's world, stepped minute by minute."""

    def __init__(self) -> None:
        self.now = NOW
        self.cluster = CheckedCluster(lambda: self.now)
        self.traffic = Traffic()
        self.metrics = Metrics()
        self.settings = Settings()
        self.handed_over: dict[str, Any] = {}  # by the quantizer, besides the artifact
        self.refusing: dict[str, Refusal] = {}  # by Deployment: what its pods say instead of serving
        self.is_stuck = False  # no pod follows its Deployment
        self.seen_steps: list[int] = []
        self.seen_stages: list[str] = []

    def again(self) -> "Stage":
        """The same world once more, to go on from here another way."""
        other = Stage()
        other.now, other.handed_over = self.now, self.handed_over
        other.cluster.begin_as(self.cluster)
        other.traffic.compared, other.traffic.against = self.traffic.compared, self.traffic.against
        return other

    def create(self, **changes: Any) -> None:
        """A user applies the resource."""
        self.cluster.put(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"namespace": KEY.namespace, "name": KEY.name},
                "spec": spec_body(**changes),
            }
        )

    async def live(self, rounds: int) -> None:
        """Let everybody act; a crashed operator starts afresh with nothing but what the API server holds."""
        for _ in range(rounds):
            self.now += timedelta(seconds=61)
            self.nodes_and_gateway()
            cache = Cache()
            await list_everything(self.cluster, cache, self.settings)
            traffic: Any = self.traffic
            world = World(self.cluster, cache, traffic, self.settings, lambda: self.now, self.metrics)
            try:
                await reconcile(world, KEY)
            except (CrashError, ClusterError):
                continue
            self._note()

    def _note(self) -> None:
        status = self.cluster.status()
        if status.progress.step and self.seen_steps[-1:] != [status.progress.step]:
            self.seen_steps.append(status.progress.step)
        if self.seen_stages[-1:] != [status.stage]:
            self.seen_stages.append(status.stage)

    def nodes_and_gateway(self) -> None:
        """Pods become ready, Jobs complete, routes are accepted, dependants of what is gone go too."""
        for (kind, _, name), body in list(self.cluster.objects.items()):
            if kind == "Deployment":
                self._run(body)
            elif kind == "Job":
                self._complete(body)
            elif kind == "HTTPRoute":
                self._accept(body)
            elif kind == "Pod" and not any(name.startswith(each) for each in self._owners()):
                del self.cluster.objects[(kind, KEY.namespace, name)]

    def _owners(self) -> set[str]:
        return {name for kind, _, name in self.cluster.objects if kind in ("Deployment", "Job")}

    def _run(self, deployment: Body) -> None:
        name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        refusal = self.refusing.get(name)
        ready, pod_spec = 0 if refusal else 1, template["spec"]
        if self.is_stuck and (older := self.cluster.objects.get(("Pod", KEY.namespace, f"{name}-0"))):
            pod_spec = older["spec"]
        updated = int(pod_spec == template["spec"])
        counts = {"replicas": 1, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready}
        self._set_status(deployment, {**counts, "observedGeneration": deployment["metadata"]["generation"]})
        self._pod(deployment, template["metadata"]["labels"], _refused(refusal) if refusal else {}, pod_spec)

    def _complete(self, job: Body) -> None:
        inputs = job["metadata"]["annotations"][names.ANNOTATION_INPUTS]
        figures = ArtifactFigures(file="m.onnx", sha256=INT8, size_ratio=0.3, latency_ratio=1.5)
        judged: dict[str, Any] = {
            "verdict": Verdict.BENEFICIAL,
            "because": "it is",
            "artifact": figures,
            "uri": "oci://r/a",
        }
        left = Handover(inputs=inputs, **(judged | self.handed_over))
        self._set_status(job, {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]})
        ended = {"terminated": {"exitCode": 0, "message": left.to_message()}}
        labels = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        self._pod(job, labels, {"containerStatuses": [{"name": "quantizer", "restartCount": 0, "state": ended}]})

    def _accept(self, route: Body) -> None:
        seen = {"observedGeneration": route["metadata"]["generation"], "status": "True"}
        conditions = [{"type": kind, **seen} for kind in ("Accepted", "ResolvedRefs")]
        self._set_status(route, {"parents": [{"conditions": conditions}]})

    def _pod(self, owner: Body, labels: dict[str, str], status: dict[str, Any], spec: Body | None = None) -> None:
        ready = {"conditions": [{"type": "Ready", "status": "True"}], **status}
        metadata = {"namespace": KEY.namespace, "name": f"{owner['metadata']['name']}-0", "labels": labels}
        self._set_status({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec or {}}, ready)

    def _set_status(self, body: Body, status: dict[str, Any]) -> None:
        if body.get("status") != status:
            metadata = {**body["metadata"], "generation": body["metadata"].get("generation", 1)}
            self.cluster.put({**body, "metadata": metadata, "status": status})


def _refused(refusal: Refusal) -> dict[str, Any]:
    """A server that was started again and again, and refuses each time."""
    ended = {"terminated": {"exitCode": 2, "message": refusal.to_message()}}
    server = {"name": "server", "restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    unready = [{"type": "Ready", "status": "False"}]
    return {"conditions": unready, "containerStatuses": [{**server, "lastState": ended}]}
