"""Full lists that heal what watches lose: a deletion missed, an event dropped, a stream that went silent."""

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import structlog

from quanary.api import names
from quanary.controller.cache import Body, Cache, model_key
from quanary.controller.cluster import Cluster, ClusterError, NotFound, watched
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Clock
from quanary.controller.queue import Queue
from quanary.controller.settings import Settings

# Then the process ends, and the kubelet starts a fresh one.
PATIENCE_SECONDS: Final = 60
SWITCH_SECONDS: Final = 5

log = structlog.get_logger()


def concerned(body: Body, cache: Cache, settings: Settings) -> Iterable[ModelKey]:
    """Keys of the models that a change of `body` may matter to."""
    if body["kind"] == "ConfigMap":
        # The switch of the operator's own namespace is everybody's.
        namespace = body["metadata"]["namespace"]
        everywhere = "" if namespace == settings.own_namespace else namespace
        return [key for each in cache.select(names.KIND, everywhere) if (key := model_key(each))]
    if body["kind"] in ("Gateway", "GatewayClass"):
        return [key for each in cache.select(names.KIND) if (key := model_key(each)) and _is_routed(each, body)]
    key = model_key(body)
    return (key,) if key else ()


def _is_routed(model: Body, body: Body) -> bool:
    """Whether the route of a model has this Gateway as a parent; it may have one of any GatewayClass."""
    gateway = body["metadata"]
    parents = model.get("spec", {}).get("route", {}).get("parentRefs") or ()
    return body["kind"] == "GatewayClass" or any(
        (parent.get("namespace") or model["metadata"]["namespace"], parent["name"])
        == (gateway["namespace"], gateway["name"])
        for parent in parents
    )


async def list_everything(cluster: Cluster, cache: Cache, settings: Settings) -> set[ModelKey]:
    """Put a full list of every kind into the cache; returns the keys of all models there are or were.

    Raises:
        ClusterError: a kind could not be listed (NotFound: its definition is not installed).
    """
    keys = {key for body in cache.select(names.KIND) if (key := model_key(body))}
    for kind, where in watched(settings.namespace).items():
        try:
            listing = await cluster.list_all(kind, settings.namespace)
        except NotFound as error:
            raise NotFound(error.status, f"{kind}: {where.api_version} is not installed in this cluster") from error
        cache.replace_all(kind, listing.bodies, listing.resource_version, settings.namespace)
    if is_switch_elsewhere(settings):
        await read_switch(cluster, cache, settings)
    return keys | {key for body in cache.select(names.KIND) if (key := model_key(body))}


def is_switch_elsewhere(settings: Settings) -> bool:
    """Whether the operator's own switch lies outside the one namespace that is watched."""
    return settings.namespace not in ("", settings.own_namespace)


async def read_switch(cluster: Cluster, cache: Cache, settings: Settings) -> bool:
    """Put the switch of the operator's own namespace into the cache; returns whether it changed.

    Raises:
        ClusterError: it could not be read.
    """
    known = cache.get("ConfigMap", settings.own_namespace, names.SWITCH)
    found = await cluster.get("ConfigMap", settings.own_namespace, names.SWITCH)
    if found:
        return cache.put(found)
    if known:
        cache.forget(known)
    return known is not None


async def keep_reading_switch(cluster: Cluster, cache: Cache, settings: Settings, queue: Queue) -> None:
    """Poll the switch that no watch covers, until cancelled; a change wakes every model."""
    while True:
        await asyncio.sleep(SWITCH_SECONDS)
        try:
            has_changed = await read_switch(cluster, cache, settings)
        except ClusterError as error:
            log.warning("switch not read", error=str(error))
            continue
        if has_changed:
            queue.add_all((key for each in cache.select(names.KIND) if (key := model_key(each))), urgent=True)


async def list_at_start(cluster: Cluster, cache: Cache, settings: Settings) -> set[ModelKey]:
    """`list_everything`, with patience for an API server that is only just starting too.

    Raises:
        ClusterError: it failed for another reason, or for too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await list_everything(cluster, cache, settings)
        except ClusterError as error:
            if not error.is_transient or time.monotonic() > deadline:
                raise
            log.warning("first list failed", error=str(error))
        await asyncio.sleep(1)


async def keep_listing(cluster: Cluster, cache: Cache, settings: Settings, queue: Queue, clock: Clock) -> None:
    """List everything every `settings.resync` or so, until cancelled."""
    pause = settings.resync
    while True:
        await asyncio.sleep(_jittered(pause))
        try:
            keys = await list_everything(cluster, cache, settings)
        except ClusterError as error:
            log.warning("full list failed", error=str(error))
            pause = min(settings.resync, timedelta(seconds=10))
            continue
        clock.succeeded()
        queue.add_all(keys)
        pause = settings.resync


def _jittered(pause: timedelta) -> float:
    # Operators that were started together should not list together.
    return pause.total_seconds() * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
