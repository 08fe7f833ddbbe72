"""One reconcile of one model: observe, decide, record, apply."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from quanary.api import names
from quanary.controller.apply import NameTaken, apply, look_up, roll_back_route
from quanary.controller.children import Manifests, build
from quanary.controller.cluster import ClusterError
from quanary.controller.decide import decide
from quanary.controller.decision import Decision, ModelKey, Observation
from quanary.controller.observe import observe
from quanary.controller.record import record
from quanary.controller.subject import present_subject, subject_of
from quanary.controller.world import World

# How long a weight that must fall waits for the status to be written.
PATIENCE_SECONDS: Final = 2.0

log = structlog.get_logger()


async def reconcile(world: World, key: ModelKey) -> timedelta | None:
    """Bring one model a step nearer to what it should be; returns when to look again.

    Raises:
        ClusterError: a request failed; everything is tried again from the start.
    """
    seen = observe(world, key)
    if seen is None:
        world.telemetry.forget(key)
        return None
    seen = _under_present_spec(world, seen)
    decision, manifests = await _decide(world, seen)
    _follow(world, seen, decision)
    later = await _carry_out(world, seen, decision, manifests)
    return min(decision.look_again_after, later or decision.look_again_after)


def _under_present_spec(world: World, seen: Observation) -> Observation:
    """Less what the spec takes back: nothing is decided, nor written to the status, by gates of an older one."""
    subject = present_subject(seen)
    return replace(seen, evidence=world.telemetry.revise(subject)) if subject else seen


async def _decide(world: World, seen: Observation) -> tuple[Decision, Manifests]:
    decision = decide(seen)
    manifests = _build(world, seen, decision)
    try:
        await look_up(world.cluster, world.cache, seen.uid, manifests)
    except NameTaken as taken:
        decision = decide(replace(seen, name_taken=str(taken)))
        manifests = _build(world, seen, decision)
    return decision, manifests


def _build(world: World, seen: Observation, decision: Decision) -> Manifests:
    if seen.spec is None or decision.target.keep_all:
        return Manifests((), (), (), None, None)
    seal = decision.memory.seal
    return build(seen.key, seen.uid, seen.spec, world.settings, decision.target, seen.inputs, seal)


def _follow(world: World, seen: Observation, decision: Decision) -> None:
    if decision.target.keep_all:
        return
    if subject := subject_of(seen, decision):
        world.telemetry.track(subject, seen.now)
    else:
        world.telemetry.forget(seen.key)


async def _carry_out(world: World, seen: Observation, decision: Decision, manifests: Manifests) -> timedelta | None:
    condemned = newly_condemned(seen, decision)
    if condemned and manifests.route:
        # The patch remembers by itself why it was made, so it waits for nothing.
        await roll_back_route(world.cluster, world.cache, manifests.route, condemned)
    if condemned:
        # A reason begins with one word: the gate, `restarts` or `abort`.
        world.metrics.rollbacks.labels(condemned.partition("=")[2].partition(":")[0]).inc()
    unwritten = await _remember(world, seen, decision, is_urgent=bool(condemned) or is_retreat(seen, decision))
    later = await apply(world.cluster, world.cache, seen, manifests, decision.target, condemned)
    if unwritten:
        raise unwritten
    return later


async def _remember(world: World, seen: Observation, decision: Decision, *, is_urgent: bool) -> ClusterError | None:
    """The status, before anything is acted on; but a weight that must fall does not wait for it."""
    if not is_urgent:
        await record(world, seen, decision)
        return None
    try:
        await asyncio.wait_for(record(world, seen, decision), PATIENCE_SECONDS)
    except ClusterError as error:
        log.warning("status not written before a weight falls", error=str(error))
        return error
    except TimeoutError:
        log.warning("status not written in time before a weight falls")
        return ClusterError(0, "the status could not be written in time")
    return None


def newly_condemned(seen: Observation, decision: Decision) -> str:
    """`<digest>=<reason>` of an artifact condemned by this very decision; empty if none was."""
    known = {each.digest for each in seen.memory.condemned} | {digest for digest, _ in _of_route(seen)}
    news = (each for each in decision.memory.condemned if each.digest not in known)
    return next((f"{each.digest}={each.reason}" for each in news), "")


def _of_route(seen: Observation) -> tuple[tuple[str, str], ...]:
    return seen.route.condemned if seen.route else ()


def is_retreat(seen: Observation, decision: Decision) -> bool:
    """Whether an INT8 artifact gets less than the route gives it now."""
    if seen.route is None or not decision.target.shares:
        return False
    desired = {names.short(share.digest): share.weight for share in decision.target.shares}
    int8 = {names.short(each.digest) for each in seen.backends.values() if each.variant == "int8"}
    return any(desired.get(each, 0) < seen.route.weights.get(each, 0) for each in int8)
