"""The HTTPRoute of a model: built from shares, and read back as weights and acceptance."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from quanary.api import names
from quanary.controller.children.manifest import Manifest, Model, metadata, model_labels
from quanary.controller.decision import WHOLE, Share, Target
from quanary.controller.support import BACKEND_H2C, PATH_REWRITE, keeps_path, own_path
from quanary.wire.launch import GRPC_PORT, HTTP_PORT

GATEWAY_API: Final = "gateway.networking.k8s.io"
# The path of every gRPC call of the protocol; the model's name is in the message, where no route can look.
GRPC_PATH: Final = "/inference.GRPCInferenceService"
HEADER_FILTER: Final = "RequestHeaderModifier"


def route_manifest(model: Model, target: Target) -> Manifest:
    """Critical requests first, always to float; then the split, the same for every protocol.

    What a GatewayClass lacks is left out, never written: a filter that is not understood breaks the whole rule.

    Raises:
        ValueError: weights that do not sum to 1000, or that fall on a variant without a Service.
    """
    _check(target, {each.digest for each in target.running})
    spec: Manifest = {
        "parentRefs": _parents(model),
        "rules": [*_critical_rules(model, target), *_split_rules(model, target)],
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


def _critical_rules(model: Model, target: Target) -> Iterator[Manifest]:
    critical, name = model.spec.critical, model.key.name
    mark = {"name": critical.header.name, "value": critical.header.value}
    headers = [{"type": "Exact", **mark}]
    path = _path(model, target)
    float_alone = (Share("float", target.float_digest, WHOLE),)
    yield _rule(model, _match(path, headers), float_alone, filters=_rewrite(path, name))
    if critical.path and PATH_REWRITE not in target.lacking:
        # Servers see one mark, whichever way the request was marked.
        marking = {"type": HEADER_FILTER, "requestHeaderModifier": {"set": [mark]}}
        marked_path = critical.path + path.rstrip("/")
        filters = [_rewritten_to(path if keeps_path(path, name) else own_path(name)), marking]
        yield _rule(model, _match(marked_path), float_alone, filters=filters)
    if _has_grpc(model, target):
        yield _rule(model, _match(GRPC_PATH, headers), float_alone, port=GRPC_PORT)


def _split_rules(model: Model, target: Target) -> Iterator[Manifest]:
    running = {each.digest for each in target.running}
    # A backend whose Service is missing makes the whole route invalid, whatever its weight.
    shares = tuple(share for share in target.shares if share.digest in running)
    path = _path(model, target)
    yield _rule(model, _match(path), shares, filters=_rewrite(path, model.key.name))
    if _has_grpc(model, target):
        yield _rule(model, _match(GRPC_PATH), shares, port=GRPC_PORT)


def _path(model: Model, target: Target) -> str:
    """The prefix that users ask; the model's own where the Gateway cannot rewrite another one."""
    path, own = model.spec.route.path or own_path(model.key.name), own_path(model.key.name)
    return path if keeps_path(path, model.key.name) or PATH_REWRITE not in target.lacking else own


def _has_grpc(model: Model, target: Target) -> bool:
    # Without a host name of its own the path would be every other model's too.
    return bool(model.spec.route.hostnames) and BACKEND_H2C not in target.lacking


def _match(path: str, headers: list[Manifest] | None = None) -> Manifest:
    return {"path": {"type": "PathPrefix", "value": path}, **({"headers": headers} if headers else {})}


def _rewrite(path: str, name: str) -> list[Manifest]:
    return [] if keeps_path(path, name) else [_rewritten_to(own_path(name))]


def _rewritten_to(prefix: str) -> Manifest:
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}
    return {"type": "URLRewrite", "urlRewrite": {"path": path}}


def _rule(
    model: Model,
    match: Manifest,
    shares: tuple[Share, ...],
    *,
    filters: list[Manifest] | None = None,
    port: int = HTTP_PORT,
) -> Manifest:
    rule: Manifest = {"matches": [match], "backendRefs": [_backend(model, share, port) for share in shares]}
    return {**rule, "filters": filters} if filters else rule


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


def _backend(model: Model, share: Share, port: int) -> Manifest:
    # Every field is written: what the API server fills in would look like somebody else's change.
    return {
        "group": "",
        "kind": "Service",
        "name": names.variant_name(model.key.name, share.variant, share.digest),
        "port": port,
        "weight": share.weight,
    }


def split_weights(route: Mapping[str, Any]) -> list[dict[str, int]]:
    """Weight of each Service by name, in each rule that splits traffic: all but those for critical requests."""
    return [
        {ref["name"]: ref.get("weight", 1) for ref in rule.get("backendRefs") or ()}
        for rule in route.get("spec", {}).get("rules") or ()
        if not _is_critical(rule)
    ]


def _is_critical(rule: Mapping[str, Any]) -> bool:
    by_header = any(match.get("headers") for match in rule.get("matches") or ())
    return by_header or any(each.get("type") == HEADER_FILTER for each in rule.get("filters") or ())


def backend_weights(route: Mapping[str, Any]) -> dict[str, int]:
    """Weight of each Service in the split of an HTTPRoute, by the Service's name.

    Every rule of ours says the same. Where somebody lowered one of them, the smallest counts: that is an abort.
    """
    splits = split_weights(route)
    found = {name for split in splits for name in split}
    return {name: min(split.get(name, 0) for split in splits) for name in sorted(found)}


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
