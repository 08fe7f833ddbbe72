"""The ways back: condemned on proof, off traffic on suspicion, and the return. Pure."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from quanary.api.v1alpha1 import Artifact, Condemned, FrontArtifact, Progress, Stage, Verdict
from quanary.controller.decision import Decision, Observation
from quanary.controller.rules.advance import begin_step
from quanary.controller.scene import SOON, WATCHFUL, Scene

CLEAN_SHADOW: Final = timedelta(seconds=120)  # at weight 0 after a retreat, before the step is tried again
RETREAT_MEMORY: Final = timedelta(hours=24)  # a second retreat within it condemns
TOO_MANY_RESTARTS: Final = 3
ABORT: Final = "abort"  # the first word of a condemnation by hand


def roll_back_on_evidence(seen: Observation) -> Decision | None:
    """A gate's evidence reached its limit, the pods failed thrice, or somebody lowered the weight by hand."""
    scene = Scene(seen)
    subject = scene.subject
    if subject is None or scene.is_condemned(subject.digest):
        return None
    if reason := _rollback_reason(scene, subject):
        return _condemn(scene, subject, reason)
    return None


def stall_on_refusal(seen: Observation) -> Decision | None:
    """INT8 pods refuse to serve, as on a CPU without the artifact's certificate: weight 0, and a person must act."""
    scene = Scene(seen)
    subject = scene.subject
    if subject is None or subject.inputs != seen.inputs or scene.is_condemned(subject.digest):
        return None
    refusal = scene.refusal_of(subject.digest)
    if not refusal:
        return None
    memory = scene.memory
    if scene.progress.step or scene.progress.resume_step:
        progress = scene.progress.model_copy(update={"step": 0, "resume_step": 0, "since": seen.now})
        memory = replace(memory, progress=progress)
    return scene.decide(Stage.STALLED, refusal, memory, reason="PodsRefuse")


def take_safer_artifact(seen: Observation) -> Decision | None:
    """`rollback.to: SaferArtifact`: the next safer of the same search follows a condemned one, without a Job."""
    scene = Scene(seen)
    condemned = scene.candidate
    if condemned is None or not scene.is_condemned(condemned.digest) or not _is_safer_wanted(scene, condemned):
        return None
    safer, reason = _next_safer(scene, condemned), scene.reason_of(condemned.digest)
    if safer is None:
        return None
    candidate = _out_of_front(
        safer, condemned, f"taken from the front ({safer.role}) after {condemned.digest[:10]}: {reason}"
    )
    memory = replace(scene.memory, candidate=candidate, progress=Progress(retried=scene.progress.retried))
    because = f"INT8 {candidate.digest[:10]}: {candidate.because}"
    if memory.stable and memory.stable.digest == candidate.digest:
        # It serves already, out of an older search: one artifact must not be candidate and incumbent at once.
        return scene.decide(Stage.PROMOTED, because, replace(memory, stable=candidate, candidate=None), after=SOON)
    return scene.decide(Stage.SHADOWING, because, memory, reason="SaferArtifact", after=SOON)


def keep_condemned_away(seen: Observation) -> Decision | None:
    """A condemned artifact gets no weight until `rollout.retry` names it."""
    scene = Scene(seen)
    candidate = scene.candidate
    if candidate is None or not scene.is_condemned(candidate.digest):
        return None
    if scene.may_retry(candidate.digest):
        rest = tuple(each for each in scene.memory.condemned if each.digest != candidate.digest)
        memory = replace(scene.memory, condemned=rest, progress=Progress(retried=candidate.digest))
        return scene.decide(Stage.SHADOWING, "trusted once more: rollout.retry names it", memory, after=SOON)
    reason = scene.reason_of(candidate.digest)
    return scene.settle(Stage.ROLLED_BACK, f"INT8 {candidate.digest[:10]} was rolled back: {reason}")


def retreat_on_fast_evidence(seen: Observation) -> Decision | None:
    """Weight 0 within seconds, not condemned; the second time in 24 h condemns."""
    scene = Scene(seen)
    gate = seen.evidence.retreat_by if seen.evidence else ""
    if not gate or scene.candidate is None or not scene.progress.step:
        return None
    recent = tuple(at for at in scene.progress.retreats if seen.now - at < RETREAT_MEMORY)
    if recent:
        return _condemn(scene, scene.candidate, f"{gate}: second retreat within 24 h")
    progress = Progress(
        since=seen.now,
        resume_step=scene.progress.step,
        retreats=(*recent, seen.now),
        retried=scene.progress.retried,
    )
    memory = replace(scene.memory, progress=progress)
    because = f"{gate} over budget in the last seconds: off traffic, tried again after 120 s clean in shadow"
    return scene.decide(Stage.HELD, because, memory, reason="Retreated")


def retreat_from_silent_canary(seen: Observation) -> Decision | None:
    """Silence is not health: the candidate's samples are stale while float's are fresh."""
    scene, evidence = Scene(seen), seen.evidence
    if not (scene.candidate and scene.progress.step and evidence):
        return None
    if not evidence.int8_silent or evidence.float_silent or evidence.prometheus_gone:
        return None
    return _step_aside(
        scene, scene.progress.step, "no fresh samples from the INT8 pods while float's are fresh", "Silent"
    )


def retreat_from_unready_pods(seen: Observation) -> Decision | None:
    """Ready capacity below what the weight needs: weight 0 now, back at the first step after a dwell."""
    scene = Scene(seen)
    if not (scene.candidate and scene.progress.step) or scene.has_capacity(scene.candidate, scene.progress.step):
        return None
    return _step_aside(scene, scene.spec.rollout.steps[0], "too few ready INT8 pods for their weight", "PodsNotReady")


def return_after_retreat(seen: Observation) -> Decision | None:
    """Back to the step that was left, after a clean while in shadow."""
    scene, evidence = Scene(seen), seen.evidence
    progress, candidate = scene.progress, scene.candidate
    if candidate is None or progress.step or not progress.resume_step:
        return None
    if evidence is not None and not evidence.proven:
        # A gate was tightened meanwhile: no step without a proof, and then the first one.
        memory = replace(scene.memory, progress=progress.model_copy(update={"resume_step": 0}))
        because = "its proof no longer holds for the present budget"
        return scene.decide(Stage.SHADOWING, because, memory, after=WATCHFUL)
    needed = CLEAN_SHADOW if progress.retreats else scene.spec.rollout.dwell
    is_clean = evidence is not None and not evidence.int8_silent and scene.is_available(candidate)
    if not is_clean or scene.judged < needed:
        because = f"off traffic; step {progress.resume_step} % is tried again after {needed.total_seconds():g} s clean"
        return scene.hold(because, "Retreated")
    return begin_step(scene, candidate, progress.resume_step, "clean in shadow again")


def _rollback_reason(scene: Scene, subject: Artifact) -> str:
    evidence, backend = scene.seen.evidence, scene.seen.backends.get(subject.digest)
    if evidence and evidence.condemned_by:
        return _gate_sentence(scene, evidence.condemned_by)
    # A refusal is about the node it runs on, not about the artifact.
    if backend and backend.restarts >= TOO_MANY_RESTARTS and scene.progress.step and not backend.refusal:
        return f"restarts: its containers restarted {backend.restarts} times"
    if scene.was_lowered_by_hand(subject.digest):
        return f"{ABORT}: its weight was lowered by hand"
    return ""


def _gate_sentence(scene: Scene, name: str) -> str:
    evidence = scene.seen.evidence
    gate = next((each for each in evidence.gates if each.name == name), None) if evidence else None
    return gate.sentence if gate else name


def _is_safer_wanted(scene: Scene, condemned: Artifact) -> bool:
    """Asked for, and no person has said otherwise: stopped it by hand, paused, or trusts it once more."""
    is_aborted = scene.reason_of(condemned.digest).partition(":")[0] == ABORT
    is_paused = scene.spec.rollout.mode == "Paused"
    may_follow = not (is_aborted or is_paused or scene.is_retry_wanted(condemned.digest))
    return scene.spec.rollback.to == "SaferArtifact" and may_follow


def _next_safer(scene: Scene, condemned: Artifact) -> FrontArtifact | None:
    """The least safe of those that are safer than what was chosen, and that nothing speaks against."""
    of_search = (each for each in reversed(scene.memory.front) if each.inputs == condemned.inputs == scene.seen.inputs)
    return next((each for each in of_search if each.safer and not scene.is_condemned(each.digest)), None)


def _out_of_front(safer: FrontArtifact, condemned: Artifact, because: str) -> Artifact:
    return Artifact(
        digest=safer.digest,
        uri=safer.uri,
        inputs=safer.inputs,
        verdict=Verdict.INCONCLUSIVE,  # certified; its speed was never measured
        because=because[:512],
        size_ratio=safer.size_ratio,
        disagreement_upper_bound=safer.disagreement_upper_bound,
        out_of_range_budget=condemned.out_of_range_budget,  # one search calibrates once
        role=safer.role,
        portable=safer.portable,
        cpu_features=safer.cpu_features,
    )


def _condemn(scene: Scene, subject: Artifact, reason: str) -> Decision:
    """Back to the incumbent. The artifact is remembered as candidate, so that it is not made again."""
    entry = Condemned(digest=subject.digest, reason=reason[:256], at=scene.seen.now)
    is_float_wanted = scene.spec.rollback.to == "Float" and scene.is_ready(scene.source)
    stable = scene.memory.stable
    if is_float_wanted or (stable and stable.digest == subject.digest):
        stable = None
    memory = replace(
        scene.memory,
        candidate=subject,
        stable=stable,
        condemned=(*scene.memory.condemned[-15:], entry),
        progress=Progress(retreats=scene.progress.retreats, retried=scene.progress.retried),
    )
    because = f"INT8 {subject.digest[:10]} rolled back: {reason}"
    return scene.decide(Stage.ROLLED_BACK, because, memory, reason="RolledBack")


def _step_aside(scene: Scene, resume_step: int, because: str, reason: str) -> Decision:
    progress = scene.progress.model_copy(update={"step": 0, "since": scene.seen.now, "resume_step": resume_step})
    return scene.decide(Stage.HELD, f"{because}: off traffic", replace(scene.memory, progress=progress), reason=reason)
