"""The HTTPRoute of a model: built from shares, and read back as weights and acceptance."""

from collections.abc import Mapping
from typing import Any, Final

from quanary.api import names
from quanary.controller.children.manifest import Manifest, Model, metadata, model_labels
from quanary.controller.decision import WHOLE, Share, Target
from quanary.wire.launch import HTTP_PORT

GATEWAY_API: Final = "gateway.networking.k8s.io"


def route_manifest(model: Model, target: Target) -> Manifest:
    """Critical requests first, always to float; then the split.

    Raises:
        ValueError: weights that do not sum to 1000, or that fall on a variant without a Service.
    """
    running = {each.digest for each in target.running}
    _check(target, running)
    path = {"type": "PathPrefix", "value": model.spec.route.path or f"/v2/models/{model.key.name}"}
    header = model.spec.critical.header
    critical = {"path": path, "headers": [{"type": "Exact", "name": header.name, "value": header.value}]}
    float_alone = Share("float", target.float_digest, WHOLE)
    # A backend whose Service is missing makes the whole route invalid, whatever its weight.
    split = [share for share in target.shares if share.digest in running]
    spec: Manifest = {
        "parentRefs": _parents(model),
        "rules": [
            {"matches": [critical], "backendRefs": [_backend(model, float_alone)]},
            {"matches": [{"path": path}], "backendRefs": [_backend(model, share) for share in split]},
        ],
    }
    if model.spec.route.hostnames:
        spec["hostnames"] = list(model.spec.route.hostnames)
    return {
        "apiVersion": f"{GATEWAY_API}/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(model, model.key.name, model_labels(model)),
        "spec": spec,
    }


def _check(target: Target, running: set[str]) -> None:
    if (total := sum(share.weight for share in target.shares)) != WHOLE:
        raise ValueError(f"weights sum to {total}; allowed: {WHOLE}")
    carrying = {share.digest for share in target.shares if share.weight} | {target.float_digest}
    if astray := carrying - running:
        raise ValueError(f"traffic for {sorted(astray)}, which the target does not run")


def _parents(model: Model) -> list[Manifest]:
    return [
        {
            "group": GATEWAY_API,
            "kind": "Gateway",
            "name": parent.name,
            **({"namespace": parent.namespace} if parent.namespace else {}),
            **({"sectionName": parent.section_name} if parent.section_name else {}),
        }
        for parent in model.spec.route.parent_refs
    ]


def _backend(model: Model, share: Share) -> Manifest:
    # Every field is written: what the API server fills in would look like somebody else's change.
    return {
        "group": "",
        "kind": "Service",
        "name": names.variant_name(model.key.name, share.variant, share.digest),
        "port": HTTP_PORT,
        "weight": share.weight,
    }


def backend_weights(route: Mapping[str, Any]) -> dict[str, int]:
    """Weight of each Service in the split (the last rule) of an HTTPRoute, by the Service's name."""
    rules = route.get("spec", {}).get("rules") or [{}]
    return {ref["name"]: ref.get("weight", 1) for ref in rules[-1].get("backendRefs") or ()}


def digest_weights(route: Mapping[str, Any]) -> dict[str, int]:
    """Weight of each variant in the split of an HTTPRoute, by the first 10 hex digits of its digest."""
    return {name.rsplit("-", 1)[-1]: weight for name, weight in backend_weights(route).items()}


def backend_names(route: Mapping[str, Any]) -> set[str]:
    """Every Service that any rule of an HTTPRoute points at, whatever its weight."""
    rules = route.get("spec", {}).get("rules") or ()
    return {ref["name"] for rule in rules for ref in rule.get("backendRefs") or ()}


def is_accepted(route: Mapping[str, Any]) -> bool:
    """Whether every parent of an HTTPRoute has accepted its present generation, with all its backends resolved."""
    generation = route.get("metadata", {}).get("generation", 0)
    parents = route.get("status", {}).get("parents") or ()
    wanted = route.get("spec", {}).get("parentRefs") or ()
    return len(parents) >= len(wanted) and all(_has_accepted(parent, generation) for parent in parents)


def _has_accepted(parent: Mapping[str, Any], generation: int) -> bool:
    current = {
        condition["type"]: condition["status"]
        for condition in parent.get("conditions") or ()
        if condition.get("observedGeneration", 0) >= generation
    }
    return current.get("Accepted") == "True" and current.get("ResolvedRefs") == "True"
