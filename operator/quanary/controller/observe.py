"""Reads the watch cache and the evidence into an `Observation`. No request is made here."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from quanary.api import names
from quanary.api.v1alpha1 import QuantizedModelSpec, QuantizedModelStatus, SealOpening
from quanary.controller import pods
from quanary.controller.admission import refusal
from quanary.controller.cache import Body, Cache, owner_uid
from quanary.controller.children.counting import outdated
from quanary.controller.children.deployment import pod_spec
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.children.manifest import Model
from quanary.controller.children.route import digest_weights, is_accepted
from quanary.controller.decision import Backend, JobSeen, ModelKey, Observation, RouteSeen, RouteSupport, Running
from quanary.controller.seal import opening_of
from quanary.controller.settings import Settings
from quanary.controller.support import needs
from quanary.controller.telemetry import Telemetry
from quanary.controller.world import World

LIMIT: Final = 1024  # of a message that goes into the status


def observe(world: World, key: ModelKey) -> Observation | None:
    """Everything a decision may depend on; None if the model is gone."""
    body = world.cache.get(names.KIND, key.namespace, key.name)
    if body is None or body["metadata"].get("deletionTimestamp"):
        return None
    spec, problem = _parse_spec(body, world.settings)
    memory = QuantizedModelStatus.model_validate(body.get("status") or {})
    inputs = inputs_digest(spec) if spec else ""
    now, uid = world.clock(), body["metadata"]["uid"]
    return Observation(
        now=now,
        key=key,
        uid=uid,
        generation=body["metadata"]["generation"],
        spec=spec,
        spec_error=problem,
        memory=memory,
        inputs=inputs,
        backends={each.digest: each for each in _backends(world, key, uid, spec, memory)},
        job=_job(world.cache, key, uid, inputs),
        route=_route(world.cache, key, uid, now),
        evidence=_evidence(world.telemetry, key),
        switched_off=_is_switched_off(world, key),
        openings=tuple(_openings(world.cache, key, uid)),
        support=_support(world.cache, key, spec) if spec else RouteSupport(),
    )


def _evidence(telemetry: Telemetry, key: ModelKey) -> Any:
    return telemetry.reading(key)


def _parse_spec(body: Body, settings: Settings) -> tuple[QuantizedModelSpec | None, str]:
    try:
        spec = QuantizedModelSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("spec", *first["loc"]))
        return None, f"{field}: found {str(first.get('input'))[:200]}; {first['msg']}"[:LIMIT]
    return spec, refusal(spec, settings)


def _digests(spec: QuantizedModelSpec | None, memory: QuantizedModelStatus) -> Iterator[tuple[names.Variant, str]]:
    for source in (spec.model if spec else None, memory.source):
        if source:
            yield "float", source.sha256
    for artifact in (memory.stable, memory.candidate):
        if artifact:
            yield "int8", artifact.digest


def _backends(
    world: World, key: ModelKey, uid: str, spec: QuantizedModelSpec | None, memory: QuantizedModelStatus
) -> Iterator[Backend]:
    cache = world.cache
    model = Model(key, uid, spec, world.settings, inputs="") if spec else None
    for variant, digest in _digests(spec, memory):
        deployment = cache.get("Deployment", key.namespace, names.variant_name(key.name, variant, digest))
        if deployment is None or owner_uid(deployment) != uid:
            continue
        labels = {names.LABEL_MODEL: key.name, names.LABEL_DIGEST: names.short(digest)}
        running = list(cache.select("Pod", key.namespace, labels))
        desired = deployment["spec"].get("replicas", 1)
        ready = pods.count_ready(running)
        yield Backend(
            variant=variant,
            digest=digest,
            desired=desired,
            ready=ready,
            available=ready > 0 and _is_available(deployment, desired),
            restarts=pods.count_restarts(running),
            failure=pods.failure(running)[:LIMIT],
            refusal=pods.refusal(running)[:LIMIT],
            outdated=_outdated(model, variant, digest, running) if model else {},
        )


def _outdated(model: Model, variant: names.Variant, digest: str, running: list[Body]) -> dict[str, frozenset[str]]:
    wanted = pod_spec(model, Running(variant, digest, uri=""))
    return {
        each["metadata"]["name"]: frozenset() if pods.has_ended(each) else outdated(wanted, each.get("spec") or {})
        for each in running
    }


def _is_available(deployment: Body, desired: int) -> bool:
    status = deployment.get("status") or {}
    is_current: bool = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return is_current and desired <= min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))


def _job(cache: Cache, key: ModelKey, uid: str, inputs: str) -> JobSeen | None:
    job = cache.get("Job", key.namespace, names.job_name(key.name, inputs)) if inputs else None
    if job is None or owner_uid(job) != uid or job["metadata"].get("deletionTimestamp"):
        return None
    its_pods = _pods_of(cache, key, job)
    handover = pods.handover(its_pods)
    conditions = (job.get("status") or {}).get("conditions") or ()
    true = {each["type"]: each for each in conditions if each["status"] == "True"}
    failed = true.get("Failed")
    # A refusal is final at once: trying the same inputs again cannot help.
    finished = bool(handover) or bool(failed) or "Complete" in true
    failure = (pods.last_words(its_pods) or failed.get("message", "failed")) if failed else ""
    return JobSeen(finished, handover, (failure if finished else pods.failure(its_pods))[:LIMIT])


def _openings(cache: Cache, key: ModelKey, uid: str) -> Iterator[SealOpening]:
    """Of Jobs whose inputs the spec no longer names too: what was opened stays opened."""
    for job in cache.select("Job", key.namespace, {names.LABEL_JOB_OF: key.name}):
        if owner_uid(job) == uid:
            yield from map(opening_of, pods.openings(_pods_of(cache, key, job)))


def _pods_of(cache: Cache, key: ModelKey, job: Body) -> list[Body]:
    return list(cache.select("Pod", key.namespace, {"batch.kubernetes.io/job-name": job["metadata"]["name"]}))


def _route(cache: Cache, key: ModelKey, uid: str, now: datetime) -> RouteSeen | None:
    route = cache.get("HTTPRoute", key.namespace, key.name)
    if route is None or owner_uid(route) != uid:
        return None
    parents = (route.get("status") or {}).get("parents") or ()
    return RouteSeen(
        weights=digest_weights(route),
        accepted=is_accepted(route),
        age=max(now - datetime.fromisoformat(route["metadata"]["creationTimestamp"]), timedelta(0)),
        refusal=next((text for parent in parents if (text := _refused(parent))), "")[:LIMIT],
        has_parents=bool(parents),
        condemned=tuple(_condemned(route)),
    )


def _refused(parent: Mapping[str, Any]) -> str:
    conditions = parent.get("conditions") or ()
    return next((each.get("message") or each["reason"] for each in conditions if _is_refusal(each)), "")


def _is_refusal(condition: Mapping[str, Any]) -> bool:
    return (condition["type"], condition["status"]) == ("Accepted", "False")


def _condemned(route: Body) -> Iterator[tuple[str, str]]:
    text = (route["metadata"].get("annotations") or {}).get(names.ANNOTATION_CONDEMNED, "")
    digest, separator, reason = text.partition("=")
    if separator:
        yield digest, reason


def _support(cache: Cache, key: ModelKey, spec: QuantizedModelSpec) -> RouteSupport:
    wanted = needs(key.name, spec)
    gateways = {(parent.namespace or key.namespace, parent.name) for parent in spec.route.parent_refs} if wanted else ()
    lacking, silent = [], []
    for namespace, name in sorted(gateways):
        gateway_class, features = _class_of(cache, namespace, name)
        if features is None:
            silent.append(
                f"GatewayClass {gateway_class} declares no features"
                if gateway_class
                else f"the class of Gateway {namespace}/{name} is not known"
            )
        lacking += [(need, gateway_class) for need in wanted if features is not None and need.feature not in features]
    return RouteSupport(wanted, tuple(lacking), tuple(silent))


def _class_of(cache: Cache, namespace: str, name: str) -> tuple[str, frozenset[str] | None]:
    """The GatewayClass of a Gateway and what it supports; None if it does not say, as old implementations do not."""
    gateway = cache.get("Gateway", namespace, name)
    gateway_class = str(gateway["spec"]["gatewayClassName"]) if gateway else ""
    found = cache.get("GatewayClass", "", gateway_class)
    declared = (found.get("status") or {}).get("supportedFeatures") if found else None
    return gateway_class, frozenset(map(_feature, declared)) if declared else None


def _feature(declared: Any) -> str:
    # Before it was standard it was a list of plain names.
    return str(declared["name"] if isinstance(declared, dict) else declared)


def _is_switched_off(world: World, key: ModelKey) -> bool:
    namespaces = (key.namespace, world.settings.own_namespace)
    switches = (world.cache.get("ConfigMap", namespace, names.SWITCH) for namespace in namespaces)
    return any(each is not None and (each.get("data") or {}).get("mode") == "FloatOnly" for each in switches)
