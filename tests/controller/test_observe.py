"""Bodies of a watch cache, read into an observation."""

from datetime import timedelta
from typing import Any

from quanary.api import names
from quanary.controller.cache import Cache
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.decision import ModelKey, Observation, RouteSupport
from quanary.controller.metrics import Metrics
from quanary.controller.observe import observe
from quanary.controller.settings import Settings
from quanary.controller.world import World
from quanary.wire.report import Handover, Opening, Refusal
from tests.controller.scenes import FLOAT, INT8, NOW, artifact, evidence, spec, spec_body, status

KEY = ModelKey("team", "m")
UID = "uid-of-the-model"
OWNER = [{"controller": True, "kind": names.KIND, "name": "m", "uid": UID}]


class Silent:
    """Telemetry with one reading."""

    def reading(self, key: ModelKey) -> Any:
        return evidence(compared_distinct=7)


def metadata(name: str, **more: Any) -> dict[str, Any]:
    base = {"namespace": "team", "name": name, "resourceVersion": "5", "uid": f"uid-{name}", "generation": 2}
    return {**base, "ownerReferences": OWNER, "creationTimestamp": "2026-01-01T11:59:00Z", **more}


def model(**changes: Any) -> dict[str, Any]:
    body = {"kind": names.KIND, "metadata": metadata("m", uid=UID, ownerReferences=[]), "spec": spec_body()}
    return {**body, **changes}


def deployment(variant: names.Variant, digest: str, *, updated: int = 1) -> dict[str, Any]:
    counts = {"updatedReplicas": updated, "availableReplicas": 1, "observedGeneration": 2}
    return {
        "kind": "Deployment",
        "metadata": metadata(names.variant_name("m", variant, digest)),
        "spec": {"replicas": 1},
        "status": counts,
    }


def pod(digest: str, *, ready: bool = True) -> dict[str, Any]:
    labels = {names.LABEL_MODEL: "m", names.LABEL_DIGEST: names.short(digest)}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"kind": "Pod", "metadata": metadata(f"p-{digest[:3]}", labels=labels), "status": {"conditions": conditions}}


def route(weights: dict[str, int], **annotations: str) -> dict[str, Any]:
    refs = [{"name": f"m-int8-{digest[:10]}", "weight": weight} for digest, weight in weights.items()]
    accepted = [{"type": kind, "status": "True", "observedGeneration": 2} for kind in ("Accepted", "ResolvedRefs")]
    return {
        "kind": "HTTPRoute",
        "metadata": metadata("m", annotations=annotations),
        "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": refs}]},
        "status": {"parents": [{"conditions": accepted}]},
    }


def look(*bodies: dict[str, Any], settings: Settings | None = None) -> Observation | None:
    cache, telemetry = Cache(), Silent()
    for body in bodies:
        cache.put(body)
    anything: Any = telemetry
    cluster: Any = None
    return observe(World(cluster, cache, anything, settings or Settings(), lambda: NOW, Metrics()), KEY)


def seen(*bodies: dict[str, Any], settings: Settings | None = None) -> Observation:
    found = look(*bodies, settings=settings)
    assert found
    return found


def test_a_model_that_is_gone_or_going_is_not_observed() -> None:
    assert look() is None
    assert look(model(metadata=metadata("m", uid=UID, deletionTimestamp="2026-01-01T12:00:00Z"))) is None


def test_everything_healthy_is_read() -> None:
    memory = status(candidate=artifact(), observed_generation=2).model_dump(by_alias=True, mode="json")
    bodies = (
        model(status=memory),
        deployment("float", FLOAT),
        deployment("int8", INT8),
        pod(FLOAT),
        pod(INT8),
        route({FLOAT: 900, INT8: 100}),
    )
    found = seen(*bodies)
    assert found.spec == spec()
    assert found.inputs == inputs_digest(spec())
    assert {digest: (each.ready, each.available) for digest, each in found.backends.items()} == {
        FLOAT: (1, True),
        INT8: (1, True),
    }
    assert found.route
    assert found.route.weights == {FLOAT[:10]: 900, INT8[:10]: 100}
    assert found.route.accepted
    assert found.route.age == timedelta(minutes=1)
    assert found.evidence
    assert found.evidence.compared_distinct == 7


def test_a_bad_field_is_named_with_what_was_found() -> None:
    found = seen(model(spec=spec_body(gates={"mismatch": 2})))
    assert found.spec is None
    assert found.spec_error.startswith("spec.gates.mismatch: found 2;")


def test_what_the_operator_refuses_is_an_error_of_the_spec() -> None:
    found = seen(model(), settings=Settings(allowed_hosts=("elsewhere",)))
    assert found.spec is not None
    assert found.spec_error.startswith("spec.model.uri: found host registry.example:5000; allowed by the operator")


def test_pods_of_the_old_template_are_ready_but_not_available() -> None:
    found = seen(model(), deployment("float", FLOAT, updated=0), pod(FLOAT))
    assert (found.backends[FLOAT].ready, found.backends[FLOAT].available) == (1, False)


OLD_MEASURE = {"containers": [{"name": "server", "args": ["serve", "--divergence=cosine"]}]}


def test_pods_are_told_with_what_they_count_by_an_older_spec() -> None:
    older = {**pod(FLOAT), "spec": OLD_MEASURE}
    older["metadata"] = {**older["metadata"], "name": "older"}
    found = seen(model(), deployment("float", FLOAT), pod(FLOAT), older)
    name = pod(FLOAT)["metadata"]["name"]
    assert found.backends[FLOAT].outdated == {name: frozenset(), "older": {"mismatch"}}


def test_without_a_spec_no_pod_is_older_than_it() -> None:
    memory = status(observed_generation=2).model_dump(by_alias=True, mode="json")
    found = seen(model(spec={}, status=memory), deployment("float", FLOAT), {**pod(FLOAT), "spec": OLD_MEASURE})
    assert found.spec is None
    assert found.backends[FLOAT].outdated == {}


def test_an_object_of_somebody_else_is_not_ours() -> None:
    stranger = deployment("float", FLOAT)
    stranger["metadata"]["ownerReferences"] = [{**OWNER[0], "uid": "another"}]
    foreign = route({FLOAT: 1000})
    foreign["metadata"]["ownerReferences"] = []
    found = seen(model(), stranger, foreign)
    assert not found.backends
    assert found.route is None


def job_and_pod(message: str, **conditions: str) -> tuple[dict[str, Any], dict[str, Any]]:
    name = names.job_name("m", inputs_digest(spec()))
    listed = [{"type": kind, "status": "True", "message": text} for kind, text in conditions.items()]
    ended = {"terminated": {"exitCode": 1, "message": message, "reason": "Error"}}
    its_pod = {
        "kind": "Pod",
        "metadata": metadata("j", labels={"batch.kubernetes.io/job-name": name}),
        "status": {"containerStatuses": [{"name": "quantizer", "restartCount": 0, "state": ended}]},
    }
    return {"kind": "Job", "metadata": metadata(name), "status": {"conditions": listed}}, its_pod


def test_a_refusal_ends_a_job_at_once() -> None:
    refusal = Refusal(field="spec.model.sha256", found="a", allowed="b")
    found = seen(model(), *job_and_pod(Handover(inputs="i", refusal=refusal).to_message()))
    assert found.job
    assert found.job.finished
    assert found.job.handover
    assert found.job.handover.refusal == refusal


def test_a_failed_job_tells_its_last_words() -> None:
    found = seen(model(), *job_and_pod("Traceback: no", Failed="BackoffLimitExceeded"))
    assert found.job
    assert (found.job.finished, found.job.handover) == (True, None)
    assert "exit code 1" in found.job.failure


def test_a_running_job_is_not_finished() -> None:
    job, _ = job_and_pod("")
    found = seen(model(), job)
    assert found.job
    assert not found.job.finished


def test_the_routes_annotation_is_a_condemnation() -> None:
    found = seen(model(), route({}, **{names.ANNOTATION_CONDEMNED: f"{INT8}=errors: 5 of 9"}))
    assert found.route
    assert found.route.condemned == ((INT8, "errors: 5 of 9"),)


def test_a_refused_route_tells_why() -> None:
    refused = route({})
    condition = {"type": "Accepted", "status": "False", "message": "no such listener", "observedGeneration": 2}
    refused["status"]["parents"][0]["conditions"] = [condition]
    found = seen(model(), refused)
    assert found.route
    assert (found.route.accepted, found.route.refusal) == (False, "no such listener")


def test_the_switch_of_the_namespace_or_of_the_operator_turns_models_off() -> None:
    for namespace in ("team", "quanary-system", "other"):
        switch = {
            "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": names.SWITCH, "resourceVersion": "1"},
            "data": {"mode": "FloatOnly"},
        }
        assert seen(model(), switch).switched_off == (namespace != "other")


def test_what_the_server_refuses_is_seen_apart_from_what_merely_fails() -> None:
    refusal = Refusal(field="artifact", found="avx2", allowed="avx2, avx512_vnni")
    ended = {"terminated": {"exitCode": 1, "message": refusal.to_message()}}
    strayed = pod(INT8, ready=False)
    strayed["status"]["containerStatuses"] = [{"name": "server", "restartCount": 1, "state": ended}]
    memory = status(candidate=artifact()).model_dump(by_alias=True, mode="json")
    found = seen(model(status=memory), deployment("int8", INT8), strayed)
    assert found.backends[INT8].refusal == refusal.sentence


def test_openings_of_the_seal_are_read_from_jobs_of_older_inputs_too() -> None:
    labels = {names.LABEL_JOB_OF: "m"}
    job = {"kind": "Job", "metadata": metadata("m-quantize-old", labels=labels), "status": {}}
    handed = Handover(inputs="old", opening=Opening(data="d" * 64, number=2, artifacts=(INT8,)))
    early = Handover(inputs="old", opening=Opening(data="d" * 64, number=1, artifacts=(FLOAT,)))
    its_pod = {
        "kind": "Pod",
        "metadata": metadata("q", labels={"batch.kubernetes.io/job-name": "m-quantize-old"}),
        "status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 0, "message": handed.to_message()}}}]},
    }
    assert [(each.data, each.number) for each in seen(model(), job, its_pod).openings] == [("d" * 64, 2)]
    killed = dict(
        its_pod,
        metadata=metadata("killed", labels={"batch.kubernetes.io/job-name": "m-quantize-old"}),
        status={"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "message": early.to_message()}}}]},
    )
    assert sorted(each.number for each in seen(model(), job, killed, its_pod).openings) == [1, 2]
    strangers = {**job, "metadata": metadata("m-quantize-old", labels=labels, ownerReferences=[])}
    assert seen(model(), strangers, its_pod).openings == ()


GATEWAY = {
    "kind": "Gateway",
    "metadata": {"namespace": "team", "name": "gateway", "resourceVersion": "1"},
    "spec": {"gatewayClassName": "public"},
}


def gateway_class(**status: Any) -> dict[str, Any]:
    return {"kind": "GatewayClass", "metadata": {"name": "public", "resourceVersion": "1"}, "status": status}


def test_what_a_route_needs_is_looked_up_in_the_class_of_its_gateway() -> None:
    asking = model(spec=spec_body(critical={"path": "/critical"}))
    (need,) = seen(asking).support.needs
    assert (need.feature, need.field, need.value) == ("HTTPRoutePathRewrite", "spec.critical.path", "/critical")
    lacking = seen(asking, GATEWAY, gateway_class(supportedFeatures=[{"name": "HTTPRoute"}])).support
    assert (lacking.lacking, lacking.silent) == (((need, "public"),), ())
    for declared in ({"name": "HTTPRoutePathRewrite"}, "HTTPRoutePathRewrite"):
        able = seen(asking, GATEWAY, gateway_class(supportedFeatures=[declared])).support
        assert (able.lacking, able.silent) == ((), ())


def test_a_class_that_says_nothing_is_told_from_one_that_is_not_known() -> None:
    asking = model(spec=spec_body(critical={"path": "/critical"}))
    for bodies, said in (
        ((), "the class of Gateway team/gateway is not known"),
        ((GATEWAY,), "GatewayClass public declares no features"),
        ((GATEWAY, gateway_class()), "GatewayClass public declares no features"),
    ):
        support = seen(asking, *bodies).support
        assert (support.lacking, support.silent) == ((), (said,))


def test_a_route_of_core_features_asks_nothing_of_its_gateways() -> None:
    assert seen(model(), GATEWAY, gateway_class(supportedFeatures=[{"name": "HTTPRoute"}])).support == RouteSupport()
