"""What serves before any artifact: float, its route, and what stands above the rollout. Pure."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from quanary.api.v1alpha1 import Progress, Source, Stage
from quanary.controller import support
from quanary.controller.decision import Decision, Memory, Observation
from quanary.controller.scene import SOON, WATCHFUL, Scene

GATEWAY_PATIENCE: Final = timedelta(seconds=30)


def refuse_invalid_spec(seen: Observation) -> Decision | None:
    """A bad spec changes nothing that serves; a person must mend it."""
    problem = seen.name_taken or seen.spec_error
    if not problem and seen.spec is not None:
        return None
    reason = "NameTaken" if seen.name_taken else "InvalidSpec"
    return Scene(seen).frozen(Stage.STALLED, problem or "spec: missing", reason=reason)


def obey_the_kill_switch(seen: Observation) -> Decision | None:
    """Float alone, as soon as float has ready endpoints."""
    scene = Scene(seen)
    if not (seen.switched_off or scene.spec.rollout.mode == "FloatOnly"):
        return None
    if scene.memory.source is None or not scene.is_ready(scene.source):
        return None  # nothing to switch to yet: let the rest of the lifecycle bring it up, or keep what serves
    progress = Progress(retreats=scene.progress.retreats, retried=scene.progress.retried)
    return scene.decide(
        Stage.SERVING_FLOAT,
        "float alone, as asked by the kill switch" if seen.switched_off else "float alone: rollout.mode is FloatOnly",
        replace(scene.memory, progress=progress),
        reason="FloatOnly",
        float_only=True,
    )


def start_with_float(seen: Observation) -> Decision | None:
    """While no INT8 digest has weight, nothing else is done until float is Available."""
    scene = Scene(seen)
    if scene.int8_carries_traffic or (scene.memory.source is not None and scene.source_changed):
        return None
    if scene.memory.source is not None and scene.is_ready(scene.source):
        return None
    return _wait_for_float(scene, scene.wanted_source)


def wait_for_the_route(seen: Observation) -> Decision | None:
    """A gateway that is missing or refuses the route: no user can reach the model, a person must act."""
    scene, route = Scene(seen), seen.route
    if route is None or (route.has_parents and not route.refusal):
        return None
    parents = ", ".join(f"{each.namespace or seen.key.namespace}/{each.name}" for each in scene.spec.route.parent_refs)
    if route.refusal:
        return scene.stall(f"spec.route.parentRefs: {parents} refuses the route: {route.refusal}", "RouteRefused")
    if route.age < GATEWAY_PATIENCE:
        return None
    problem = f"spec.route.parentRefs: no gateway answers for {parents}; allowed: a Gateway that exists and admits it"
    return scene.stall(problem, "GatewayMissing")


def refuse_unsupported_route(seen: Observation) -> Decision | None:
    """A Gateway cannot do what the spec asks of the route: said by name, since users would only see it missing."""
    problem = support.refusal(seen.support)
    return Scene(seen).stall(problem, "MissingFeatures") if problem else None


def bring_up_new_source(seen: Observation) -> Decision | None:
    """A new float model: the old pair serves on until the new float is Available, then one route write."""
    scene = Scene(seen)
    if scene.memory.source is None or not scene.source_changed:
        return None
    return _wait_for_float(scene, scene.wanted_source)


def hold_while_paused(seen: Observation) -> Decision | None:
    """Nothing forward; everything above still works."""
    scene = Scene(seen)
    if scene.spec.rollout.mode != "Paused" or scene.is_promoted:
        return None
    return scene.hold("rollout.mode is Paused", "Paused", quantize=scene.job_runs)


def _wait_for_float(scene: Scene, source: Source) -> Decision:
    """Until the float pods of `source` are Available; then they get everything."""
    if failure := scene.failure_of(source.sha256):
        return scene.decide(Stage.STALLED, failure, scene.memory, reason="PodsFailing", after=WATCHFUL, coming=source)
    if not scene.is_ready(source):
        stage = Stage.PENDING if scene.memory.source is None else Stage.SERVING_FLOAT
        return scene.decide(stage, "waiting for the float pods", scene.memory, after=WATCHFUL, coming=source)
    memory = Memory(source=source, condemned=scene.memory.condemned, seal=scene.memory.seal)
    return scene.decide(Stage.SERVING_FLOAT, "float serves", memory, after=SOON)
