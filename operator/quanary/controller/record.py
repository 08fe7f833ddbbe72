"""Decision -> status, Event and metrics. The status is written only when it says something new."""

from datetime import timedelta
from typing import Any, Final, Literal

import structlog

from quanary.api import names
from quanary.api.conditions import RECONCILING, STALLED, Facts, RouteWord, conditions
from quanary.api.v1alpha1 import Artifact, GateStatus, HistoryEntry, QuantizedModelStatus, Stage, Weight
from quanary.controller.cluster import ClusterError
from quanary.controller.decision import WHOLE, Decision, Observation
from quanary.controller.evidence import Evidence
from quanary.controller.fitness import is_certified
from quanary.controller.support import route_word
from quanary.controller.world import World

HISTORY: Final = 10
# Figures alone are worth a write this often: while people watch a rollout, where it has stood still for long (a proof
# may take hours, a hold days), and after it.
FIGURES_IN_PROGRESS: Final = timedelta(seconds=5)
FIGURES_STANDING_STILL: Final = timedelta(seconds=60)
STANDING_STILL: Final = timedelta(minutes=10)
FIGURES_AT_REST: Final = timedelta(hours=1)
# What changes with every sample; a status that differs in nothing else can wait.
FIGURES: Final = {"written_at", "mismatch", "p99", "gates", "checkpoint", "because", "conditions"}
WARNING_STAGES: Final = STALLED | {Stage.HELD}

log = structlog.get_logger()


async def record(world: World, seen: Observation, decision: Decision) -> None:
    """Write what was decided, before it is acted on.

    Raises:
        ClusterError: the status could not be written; nothing was remembered.
    """
    status = status_of(seen, decision)
    if not _is_worth_writing(seen, status):
        return
    world.cache.put(await world.cluster.apply_status(_status_manifest(world, seen, status)))
    if status.stage is not seen.memory.stage or _entry_differs(seen, status):
        await _announce(world, seen, decision)


def _status_manifest(world: World, seen: Observation, status: QuantizedModelStatus) -> dict[str, Any]:
    metadata = {"namespace": seen.key.namespace, "name": seen.key.name, "uid": seen.uid}
    live = world.cache.get(names.KIND, seen.key.namespace, seen.key.name)
    if live and live["metadata"]["uid"] == seen.uid:
        # The API server heeds no uid on a status: without the version, the memory of a model that was deleted could
        # land on a new one of the same name.
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": metadata,
        "status": status.model_dump(by_alias=True, mode="json", exclude_none=True),
    }


def status_of(seen: Observation, decision: Decision) -> QuantizedModelStatus:
    """The status that speaks of this decision."""
    memory, evidence = decision.memory, seen.evidence
    draft = QuantizedModelStatus(
        observed_generation=seen.generation,
        stage=decision.stage,
        because=decision.because[:1024],
        serving=_serving(seen),
        weight=_weight(seen),
        mismatch=_mismatch(evidence),
        p99=_p99(evidence),
        verdict=_verdict(memory.candidate or memory.stable),
        weights=tuple(_weights(seen, decision)),
        source=memory.source,
        candidate=memory.candidate,
        stable=memory.stable,
        condemned=memory.condemned[-16:],
        front=memory.front,
        seal=memory.seal,
        progress=memory.progress,
        gates=tuple(_gates(evidence)) if evidence else seen.memory.gates,
        # Kept while evidence is not there yet: it is what the kernel will start from.
        checkpoint=evidence.checkpoint if evidence else seen.memory.checkpoint,
        provenance=memory.provenance,
    )
    return draft.model_copy(
        update={
            "written_at": seen.now,
            "history": _history(seen, draft),
            "conditions": conditions(_facts(seen, decision), seen.memory.conditions, seen.now),
        }
    )


def _facts(seen: Observation, decision: Decision) -> Facts:
    memory = decision.memory
    is_promoted = memory.stable is not None
    return Facts(
        stage=decision.stage,
        reason=decision.reason or decision.stage,
        because=decision.because,
        generation=seen.generation,
        is_healthy=_is_healthy(seen),
        is_quantized=(memory.stable is not None and is_certified(memory.stable))
        or (memory.candidate is not None and decision.stage is not Stage.REJECTED),
        is_proven=is_promoted or bool(memory.candidate and seen.evidence and seen.evidence.proven),
        route=route_word(seen.support) if seen.spec else RouteWord("Unknown", "InvalidSpec", decision.because),
        is_settled=decision.reason == "FloatOnly",
    )


def _is_healthy(seen: Observation) -> bool:
    """Whether every variant that users may reach has ready pods."""
    if seen.route is None or seen.route.refusal or not seen.route.has_parents:
        return False
    ready = {names.short(each.digest): each.ready for each in seen.backends.values()}
    carrying = [digest for digest, weight in seen.route.weights.items() if weight]
    return bool(carrying) and all(ready.get(digest, 0) for digest in carrying)


def _carried(seen: Observation) -> dict[str, int]:
    """Observed weight by variant."""
    weights = {"float": 0, "int8": 0}
    for backend in seen.backends.values():
        weights[backend.variant] += seen.route.weights.get(names.short(backend.digest), 0) if seen.route else 0
    return weights


def _serving(seen: Observation) -> Literal["", "float", "int8", "both"]:
    weights = _carried(seen)
    if weights["float"] and weights["int8"]:
        return "both"
    if weights["int8"]:
        return "int8"
    return "float" if weights["float"] else ""


def _weight(seen: Observation) -> str:
    return f"{_carried(seen)['int8'] * 100 / WHOLE:g}%" if seen.route else ""


def _weights(seen: Observation, decision: Decision) -> list[Weight]:
    observed = seen.route.weights if seen.route else {}
    desired = {share.digest: share.weight for share in decision.target.shares}
    if not desired:  # the route is left as it is
        desired = {digest: observed.get(names.short(digest), 0) for digest in seen.backends}
    return [
        Weight(
            variant=backend.variant,
            digest=backend.digest,
            desired=desired.get(backend.digest, 0),
            observed=observed.get(names.short(backend.digest), 0),
        )
        for backend in seen.backends.values()
    ]


def _mismatch(evidence: Evidence | None) -> str:
    gate = next((each for each in evidence.gates if each.name == "mismatch"), None) if evidence else None
    return f"{gate.bad / gate.samples:.2%}" if gate and gate.samples else ""


def _p99(evidence: Evidence | None) -> str:
    seconds = evidence.p99_seconds if evidence else None
    if seconds is None:
        return ""
    return f"{seconds * 1000:.3g}ms" if seconds < 0.9995 else f"{seconds:.3g}s"


def _gates(evidence: Evidence) -> list[GateStatus]:
    return [
        GateStatus(
            name=each.name,
            samples=each.samples,
            rate=round(each.bad / each.samples, 6) if each.samples else 0,
            budget=each.budget,
            rollback_evidence=round(each.rollback_evidence, 4),
            safety_evidence=round(each.safety_evidence, 4),
            holds=each.holds,
        )
        for each in evidence.gates
    ]


def _verdict(artifact: Artifact | None) -> str:
    return artifact.verdict if artifact else ""


def _history(seen: Observation, status: QuantizedModelStatus) -> tuple[HistoryEntry, ...]:
    if not _entry_differs(seen, status):
        return seen.memory.history
    entry = HistoryEntry(at=seen.now, stage=status.stage, because=status.because[:512])
    return (*seen.memory.history, entry)[-HISTORY:]


def _entry_differs(seen: Observation, status: QuantizedModelStatus) -> bool:
    before = seen.memory
    is_first = not before.history
    return is_first or before.stage is not status.stage or before.progress.step != status.progress.step


def _is_worth_writing(seen: Observation, status: QuantizedModelStatus) -> bool:
    before = seen.memory
    if before.model_dump(exclude=FIGURES) != status.model_dump(exclude=FIGURES):
        return True
    if _states(before) != _states(status):
        return True
    # At rest a reason holds no figures: another one is news.
    if status.stage not in RECONCILING and before.because != status.because:
        return True
    if before.model_dump(exclude={"written_at"}) == status.model_dump(exclude={"written_at"}):
        return False
    patience = _patience(seen, status)
    return seen.now - (before.written_at or seen.now - patience) >= patience


def _patience(seen: Observation, status: QuantizedModelStatus) -> timedelta:
    if status.stage not in RECONCILING:
        return FIGURES_AT_REST
    begun = status.history[-1].at if status.history else seen.now
    return FIGURES_IN_PROGRESS if seen.now - begun < STANDING_STILL else FIGURES_STANDING_STILL


def _states(status: QuantizedModelStatus) -> list[tuple[str, str, str]]:
    return [(each.type, each.status, each.reason) for each in status.conditions]


async def _announce(world: World, seen: Observation, decision: Decision) -> None:
    """An Event for people; that it cannot be posted must not hold anything up."""
    world.metrics.decisions.labels(decision.stage).inc()
    log.info("decided", stage=decision.stage, because=decision.because)
    try:
        await world.cluster.create_event(event_manifest(seen, decision))
    except ClusterError as error:
        log.warning("event not posted", error=str(error))


def event_manifest(seen: Observation, decision: Decision) -> dict[str, Any]:
    """An events.k8s.io/v1 Event about the decision; its name is the same for the same moment."""
    moment = seen.now.strftime("%Y%m%d%H%M%S%f")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": seen.key.namespace, "name": f"{seen.key.name}.{moment}"},
        "eventTime": seen.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if decision.stage in WARNING_STAGES else "Normal",
        "reason": decision.reason or decision.stage,
        "action": "Reconcile",
        "note": _printable(decision.because),
        "reportingController": f"{names.GROUP}/operator",
        "reportingInstance": "quanary",
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "namespace": seen.key.namespace,
            "name": seen.key.name,
            "uid": seen.uid,
        },
    }


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:1000]
