"""Which evidence a decision asks for. Pure."""

from quanary.controller.decision import Decision, Observation
from quanary.controller.rules.advance import comparisons_of_a_step
from quanary.controller.telemetry import Subject


def subject_of(seen: Observation, decision: Decision) -> Subject | None:
    """The pair to be compared: float and the artifact that is being proven, else the promoted one; None for none."""
    memory, spec, digest = decision.memory, seen.spec, decision.target.twin_digest
    if spec is None or memory.source is None or not digest:
        return None
    progress = memory.progress
    in_progress = memory.candidate is not None and memory.candidate.digest == digest
    at_step = progress.compared_at_start + comparisons_of_a_step(spec)
    return Subject(
        key=seen.key,
        uid=seen.uid,
        float_digest=memory.source.sha256,
        int8_digest=digest,
        gates=spec.gates,
        steps=len(spec.rollout.steps),
        step=progress.step,
        since=progress.since,
        in_progress=in_progress,
        attempt=len(memory.condemned) + 1,
        retried=progress.retried == digest,
        checkpoint=seen.memory.checkpoint,
        compared_wanted=at_step if progress.step else spec.rollout.shadow.min_samples,
    )
