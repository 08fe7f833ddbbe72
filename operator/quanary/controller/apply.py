"""Writes what should exist, in the only order that never fails a request, and removes what should not.

An INT8 share that falls: route first, then everything else. One that rises: pods and Services first. A Service goes
last, when the accepted route has not named it for long enough that its requests have drained.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from quanary.api import names
from quanary.controller.cache import Body, Cache, owner_name, owner_uid
from quanary.controller.children.drift import is_applied, with_hash
from quanary.controller.children.manifest import Manifest, Manifests
from quanary.controller.children.route import (
    backend_names,
    backend_weights,
    digest_weights,
    is_accepted,
    split_weights,
)
from quanary.controller.cluster import Cluster, Conflict
from quanary.controller.decision import Observation, Target

DRAIN: Final = timedelta(seconds=5)
LOOK_AGAIN: Final = timedelta(seconds=1)
# What may be removed, in this order: Services last.
PRUNED: Final = ("Job", "Deployment", "NetworkPolicy", "Service")


class NameTaken(Exception):  # noqa: N818 - it is what happened
    """A child's name is held by an object that is not ours. A dying predecessor's goes away by itself."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"{name} exists and is controlled by {holder}")
        self.name = name
        self.holder = holder


async def look_up(cluster: Cluster, cache: Cache, uid: str, manifests: Manifests) -> None:
    """Fetch by name what the cache does not know: an apply would take a stranger's object over.

    Raises:
        NameTaken: a name is held by an object whose controller is not `uid`.
        ClusterError: a request failed.
    """
    for manifest in manifests:
        live = _live(cache, manifest)
        if live is None:
            metadata = manifest["metadata"]
            live = await cluster.get(manifest["kind"], metadata["namespace"], metadata["name"])
        if live is not None:
            _refuse_strangers(live, uid)
            cache.put(live)


async def apply(
    cluster: Cluster, cache: Cache, seen: Observation, manifests: Manifests, target: Target, condemned: str = ""
) -> timedelta | None:
    """Bring the cluster to `manifests`, looked up in this same pass; returns when to look again if something drains.

    `condemned` is `<digest>=<reason>` of an artifact rolled back just now.

    Raises:
        NameTaken: a child belongs to somebody else by now.
        ClusterError: a request failed; what is left is done next time.
    """
    route = manifests.route
    if condemned and route:
        await roll_back_route(cluster, cache, route, condemned)
        route = None
    others = [manifest for manifest in manifests if manifest is not manifests.route]
    if route and _is_route_first(cache, route):
        await _apply_route(cluster, cache, seen, route)
        route = None
    await _apply_all(cluster, cache, seen.uid, others)
    if route:
        await _apply_route(cluster, cache, seen, route)
    return None if target.keep_all else await _prune(cluster, cache, seen, manifests)


async def roll_back_route(cluster: Cluster, cache: Cache, route: Manifest, condemned: str) -> None:
    """Weights and the reason in one urgent write that no conflict, rate limit or lost status holds up."""
    live = _live(cache, route)
    condemning = _condemning(route, condemned)
    # Without a route of ours there is no traffic to take away, and a stranger's is not ours to write.
    if live and owner_uid(live) == owner_uid(route) and not is_applied(condemning, live):
        await _write(cluster, cache, condemning, urgent=True)


def _condemning(route: Manifest, condemned: str) -> Manifest:
    annotations = {**route["metadata"].get("annotations", {}), names.ANNOTATION_CONDEMNED: condemned}
    return {**route, "metadata": {**route["metadata"], "annotations": annotations}}


def _refuse_strangers(live: Body, uid: str) -> None:
    if owner_uid(live) != uid:
        raise NameTaken(f"{live['kind']} {live['metadata']['name']}", owner_name(live))


def _live(cache: Cache, manifest: Manifest) -> Body | None:
    return cache.get(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _is_route_first(cache: Cache, route: Manifest) -> bool:
    live = _live(cache, route)
    if live is None:
        return False
    # Never point at a Service that is yet to be made.
    namespace = route["metadata"]["namespace"]
    is_backed = all(cache.get("Service", namespace, name) for name in backend_names(route))
    return is_backed and (_lowers_int8(route, live) or bool(backend_names(live) - backend_names(route)))


def _lowers_int8(route: Manifest, live: Body) -> bool:
    wanted, int8 = backend_weights(route), f"{route['metadata']['name']}-int8-"
    carried = (each for split in split_weights(live) for each in split.items())
    return any(wanted.get(name, 0) < weight for name, weight in carried if name.startswith(int8))


async def _apply_all(cluster: Cluster, cache: Cache, uid: str, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        live = _live(cache, manifest)
        if live:
            _refuse_strangers(live, uid)
            # A Job is immutable and named after its inputs: once it exists, a newer image must not touch it.
            if manifest["kind"] == "Job" or is_applied(manifest, live):
                continue
        await _write(cluster, cache, manifest)


async def _apply_route(cluster: Cluster, cache: Cache, seen: Observation, route: Manifest) -> None:
    live = _live(cache, route)
    if live is None:
        await _write(cluster, cache, route)
        return
    _refuse_strangers(live, seen.uid)
    condemned = _annotation(live)
    if condemned and not _is_remembered(seen, condemned):
        # Only the route knows of it so far; it stays until a status that was read back says it too.
        route, condemned = _condemning(route, condemned), ""
    if is_applied(route, live) and not condemned:
        return
    if _lowers_int8(route, live):
        await _write(cluster, cache, route, urgent=True)
        return
    # A weight rises only on the route that the decision saw: one lowered by hand meanwhile is an abort.
    if seen.route is None or _carried(seen.route.weights) != _carried(digest_weights(live)):
        raise Conflict(409, f"HTTPRoute {seen.key.name} changed after it was observed")
    await _write(cluster, cache, route, extra={"resourceVersion": live["metadata"]["resourceVersion"]})


def _annotation(route: Body) -> str:
    return str((route["metadata"].get("annotations") or {}).get(names.ANNOTATION_CONDEMNED, ""))


def _is_remembered(seen: Observation, condemned: str) -> bool:
    return condemned.partition("=")[0] in {each.digest for each in seen.memory.condemned}


def _carried(weights: Mapping[str, int]) -> dict[str, int]:
    return {digest: weight for digest, weight in weights.items() if weight}


async def _write(
    cluster: Cluster,
    cache: Cache,
    manifest: Manifest,
    *,
    extra: Manifest | None = None,
    urgent: bool = False,
) -> None:
    live = _live(cache, manifest)
    hashed = with_hash(manifest)
    uid = {"uid": live["metadata"]["uid"]} if live else {}
    body = {**hashed, "metadata": {**hashed["metadata"], **uid, **(extra or {})}}
    try:
        cache.put(await cluster.apply(body, urgent=urgent))
    except Conflict:
        await _refresh(cluster, cache, manifest, live)
        raise


async def _refresh(cluster: Cluster, cache: Cache, manifest: Manifest, live: Body | None) -> None:
    # The cache was behind; without this the next attempt would fail the same way until the next full list.
    metadata = manifest["metadata"]
    now = await cluster.get(manifest["kind"], metadata["namespace"], metadata["name"])
    if now:
        cache.put(now)
    elif live:
        cache.forget(live)


async def _prune(cluster: Cluster, cache: Cache, seen: Observation, manifests: Manifests) -> timedelta | None:
    named = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    unwanted = [
        body
        for body in cache.owned_by(seen.uid)
        if body["kind"] in PRUNED
        and (body["kind"], body["metadata"]["name"]) not in named
        and not body["metadata"].get("deletionTimestamp")
    ]
    route = cache.get("HTTPRoute", seen.key.namespace, seen.key.name)
    later: timedelta | None = None
    for body in sorted(unwanted, key=lambda each: PRUNED.index(each["kind"])):
        wait = _time_to_drain(body, route, seen.now)
        if wait:
            later = min(later or wait, wait)
            continue
        await cluster.delete(body)
    return later


def _time_to_drain(body: Body, route: Body | None, now: datetime) -> timedelta | None:
    """None when nothing can reach `body` any longer."""
    if route is None or body["kind"] not in ("Deployment", "Service"):
        return None
    if body["metadata"]["name"] in backend_names(route) or not is_accepted(route):
        return LOOK_AGAIN
    drained = _written_at(route) + DRAIN
    return drained - now if drained > now else None


def _written_at(route: Body) -> datetime:
    """When anybody last wrote the route itself (not its status)."""
    written = [
        datetime.fromisoformat(entry["time"])
        for entry in route["metadata"].get("managedFields") or ()
        if entry.get("time") and not entry.get("subresource")
    ]
    return max(written, default=datetime.fromisoformat(route["metadata"]["creationTimestamp"]))
