"""Which evidence a decision asks for. Pure."""

from collections.abc import Mapping

from quanary.controller.decision import Decision, Memory, Observation
from quanary.controller.fitness import drift_gate, mismatch_gate, range_gate
from quanary.controller.rules.advance import comparisons_of_a_step
from quanary.controller.scene import Scene
from quanary.controller.telemetry import Subject


def subject_of(seen: Observation, decision: Decision) -> Subject | None:
    """The pair to be compared: float and the artifact that is being proven, else the promoted one; None for none."""
    return _subject(seen, decision.memory, decision.target.twin_digest)


def present_subject(seen: Observation) -> Subject | None:
    """The pair that is compared already, as the present spec would have it judged; None if nothing is to change."""
    if seen.spec is None or seen.spec_error:
        return None
    scene = Scene(seen)
    return _subject(seen, scene.memory, scene.subject.digest) if scene.subject else None


def _subject(seen: Observation, memory: Memory, digest: str) -> Subject | None:
    spec = seen.spec
    if spec is None or memory.source is None or not digest:
        return None
    progress = memory.progress
    artifact = next((each for each in (memory.candidate, memory.stable) if each and each.digest == digest), None)
    if artifact is None:
        return None
    gate = mismatch_gate(spec, artifact)
    at_step = progress.compared_at_start + comparisons_of_a_step(gate)
    return Subject(
        key=seen.key,
        uid=seen.uid,
        float_digest=memory.source.sha256,
        int8_digest=digest,
        gates=spec.gates,
        mismatch=gate,
        input_range=range_gate(spec, artifact),
        input_drift=drift_gate(spec, artifact),
        escalation=spec.escalation,
        server=spec.runtime.server,
        outdated=_outdated(seen, memory.source.sha256, digest),
        steps=len(spec.rollout.steps),
        step=progress.step,
        since=progress.since,
        in_progress=artifact is memory.candidate,
        attempt=len(memory.condemned) + 1,
        retried=progress.retried == digest,
        checkpoint=seen.memory.checkpoint,
        compared_wanted=at_step if progress.step else spec.rollout.shadow.min_samples,
    )


def _outdated(seen: Observation, *digests: str) -> Mapping[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for each in digests:
        if each in seen.backends:
            found |= seen.backends[each].outdated
    return found
