"""The way forward: shadow, step by step, promoted. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from quanary.api.v1alpha1 import Artifact, Progress, Stage
from quanary.controller.decision import Decision, Observation
from quanary.controller.evidence import ESCALATION, MISMATCH, Evidence, GateReading
from quanary.controller.fitness import is_certified, mismatch_gate, warning
from quanary.controller.scene import CERTIFICATE_LAPSED, WATCHFUL, Scene

DROPPED_TOO_MANY: Final = 0.2
HALF_WAY: Final = 0.5  # of rollback evidence, on its logarithmic scale
COMPARISONS_PER_BUDGET: Final = 20  # a step lasts at least 20 / budget comparisons of distinct inputs


def hold_without_evidence(seen: Observation) -> Decision | None:
    """Prometheus gone, both variants silent, or too many comparisons lost: hold at the present weight."""
    scene, evidence = Scene(seen), seen.evidence
    if scene.candidate is None or evidence is None:
        return None
    if evidence.prometheus_gone:
        return scene.hold("Prometheus gives no answer: weights stay as they are", "PrometheusGone")
    if evidence.int8_silent and evidence.float_silent and scene.progress.step:
        return scene.hold("no fresh samples of either variant: weights stay as they are", "NoData")
    # Without pods nothing is compared any more, and the ratio stays what it was: other rules say what is wrong.
    is_compared = scene.progress.step or scene.is_available(scene.candidate)
    if is_compared and evidence.dropped_ratio > DROPPED_TOO_MANY:
        because = f"{evidence.dropped_ratio:.0%} of comparisons were dropped; at most {DROPPED_TOO_MANY:.0%} may be"
        return scene.hold(because, "ComparisonsDropped")
    return None


def hold_on_drift(seen: Observation) -> Decision | None:
    """Inputs unlike those of calibration, or answers that INT8 is unsure of: it goes no further on trust."""
    scene, evidence = Scene(seen), seen.evidence
    candidate, step = scene.candidate, scene.progress.step
    if candidate is None or evidence is None or not (holding := _holding(evidence, step)):
        return None
    # Where it would not advance anyway, other rules say why.
    if not evidence.proven or not (step or scene.is_available(candidate)):
        return None
    gates = "; ".join(each.sentence for each in holding)
    what, reason = _cause(holding)
    return scene.hold(f"INT8 at {step} %: {what}: {gates}", reason)


def _holding(evidence: Evidence, step: int) -> tuple[GateReading, ...]:
    """The gates that hold here. In shadow no user is answered by INT8, so nothing could end a hold for unsure ones."""
    return tuple(each for each in evidence.holding if step or each.name != ESCALATION)


def _cause(holding: Sequence[GateReading]) -> tuple[str, str]:
    """What is wrong, and the reason in one word; strange inputs explain unsure answers."""
    if all(each.name == ESCALATION for each in holding):
        return "answers are unsure more often than may be escalated", "Unsure"
    return "inputs are unlike those of calibration", "InputDrift"


def prove_in_shadow(seen: Observation) -> Decision | None:
    """Weight 0 until the mismatch gate is proven within its budget."""
    scene, evidence = Scene(seen), seen.evidence
    candidate = scene.candidate
    if candidate is None or scene.progress.step:
        return None
    if failure := scene.failure_of(candidate.digest):
        return scene.decide(Stage.STALLED, failure, scene.memory, reason="PodsFailing")
    if not scene.is_available(candidate):
        return scene.decide(Stage.SHADOWING, "waiting for the INT8 pods", scene.memory, after=WATCHFUL)
    wanted = scene.spec.rollout.shadow.min_samples
    if evidence is None or not evidence.proven or evidence.compared_distinct < wanted:
        because = "; ".join(filter(None, (_shadow_progress(scene), warning(scene.spec, candidate))))
        return scene.decide(Stage.SHADOWING, because, scene.memory, after=WATCHFUL)
    if _is_doubted_by_pairs(evidence):
        return scene.hold("rollback evidence is half-way to its limit", "Suspicious")
    return begin_step(scene, candidate, scene.spec.rollout.steps[0], "mismatch proven within budget in shadow")


def _is_doubted_by_pairs(evidence: Evidence) -> bool:
    """Half-way by comparisons. What users' requests said against INT8 on an earlier step cannot fade without any: the
    first step, where `advance_when_proven` holds on it, can settle that.
    """
    return any(each.name == MISMATCH and each.rollback_evidence >= HALF_WAY for each in evidence.gates)


def take_unproven_back(seen: Observation) -> Decision | None:
    """A gate that was tightened asks for its proof anew: back to shadow."""
    scene = Scene(seen)
    if scene.candidate is None or not scene.progress.step or seen.evidence is None or seen.evidence.proven:
        return None
    memory = replace(scene.memory, progress=scene.progress.model_copy(update={"step": 0, "since": seen.now}))
    return scene.decide(Stage.SHADOWING, "its proof no longer holds for the present budget", memory, after=WATCHFUL)


def advance_when_proven(seen: Observation) -> Decision | None:
    """Dwell and comparisons reached, no rollback evidence half-way: the next declared step, never beyond it."""
    scene = Scene(seen)
    candidate, step = scene.candidate, scene.progress.step
    if candidate is None or not step:
        return None
    if doubt := _doubt(scene):
        return scene.hold(f"INT8 at {step} %: {doubt}", "Suspicious")
    if obstacle := _obstacle(scene, candidate):
        return scene.decide(Stage.CANARY, f"INT8 at {step} %: {obstacle}", scene.memory, after=WATCHFUL)
    later = [each for each in scene.spec.rollout.steps if each > step]
    if later:
        return begin_step(scene, candidate, later[0], f"within budget at {step} %")
    memory = replace(scene.memory, stable=candidate, candidate=None, progress=Progress(retried=scene.progress.retried))
    return scene.decide(Stage.PROMOTED, "INT8 passed every step within budget", memory)


def watch_after_promotion(seen: Observation) -> Decision | None:
    """Promoted; evidence goes on, and what keeps it from going on is said."""
    scene, stable = Scene(seen), Scene(seen).memory.stable
    if stable and not scene.may_carry(stable):
        because = "the INT8 pods are not ready: traffic is float's until they are"
        return scene.settle(Stage.PROMOTED, because, reason="PodsNotReady")
    if seen.evidence and seen.evidence.prometheus_gone:
        because = "INT8 serves; Prometheus gives no answer, so nothing watches it now"
        return scene.settle(Stage.PROMOTED, because, reason="PrometheusGone")
    if stable and scene.has_older_pods(stable.digest) and not scene.is_available(stable):
        why = scene.failure_of(stable.digest) or "its newer pods are not ready"
        because = f"INT8 serves, in part by an older spec, of which the gates that changed gather nothing: {why}"
        return scene.settle(Stage.PROMOTED, because, reason="Rolling")
    if seen.evidence and (holding := seen.evidence.holding):
        what, reason = _cause(holding)
        names = ", ".join(each.name for each in holding)
        because = f"INT8 serves; evidence goes on; its {what} ({names})"
        return scene.settle(Stage.PROMOTED, because, reason=reason)
    if stable and not is_certified(stable):
        because = f"INT8 serves; its certificate does not hold on the new sealed data: {stable.because}"
        return scene.settle(Stage.PROMOTED, because, reason=CERTIFICATE_LAPSED)
    return scene.settle(Stage.PROMOTED, f"INT8 serves; evidence goes on{_rolling(scene)}")


def begin_step(scene: Scene, candidate: Artifact, step: int, because: str) -> Decision:
    """The candidate at `step` percent from now on, once its pods can carry that."""
    if not scene.has_capacity(candidate, step) or not scene.is_available(candidate):
        return scene.hold(f"waiting for INT8 capacity for {step} %", "PodsNotReady")
    compared = scene.seen.evidence.compared_distinct if scene.seen.evidence else 0
    progress = scene.progress.model_copy(
        update={"step": step, "since": scene.seen.now, "compared_at_start": compared, "resume_step": 0}
    )
    memory = replace(scene.memory, progress=progress)
    return scene.decide(Stage.CANARY, f"INT8 at {step} %: {because}", memory, after=WATCHFUL)


def comparisons_of_a_step(mismatch: float) -> int:
    """Comparisons of distinct inputs that a step must see: 20 / the budget of the mismatch gate."""
    return round(COMPARISONS_PER_BUDGET / mismatch)


def _doubt(scene: Scene) -> str:
    """What evidence has against going on; empty if nothing."""
    evidence = scene.seen.evidence
    if evidence and evidence.suspicious:
        return "rollback evidence is half-way to its limit"
    if evidence and not evidence.safe_now:
        return "the proof of safety has weakened"
    return ""


def _obstacle(scene: Scene, candidate: Artifact) -> str:
    """What is still missing for the next step; empty if nothing."""
    evidence, progress, spec = scene.seen.evidence, scene.progress, scene.spec
    if evidence is None:
        return "waiting for samples"
    if scene.judged < spec.rollout.dwell:
        return f"dwell of {spec.rollout.dwell.total_seconds():g} s{_rolling(scene)}"
    needed = comparisons_of_a_step(mismatch_gate(spec, candidate))
    if (compared := evidence.compared_distinct - progress.compared_at_start) < needed:
        return f"{max(compared, 0)} of {needed} comparisons"
    if progress.step == spec.rollout.steps[-1] and not evidence.fresh_safe:
        return "not yet safe at full weight"
    return ""


def _shadow_progress(scene: Scene) -> str:
    evidence, wanted = scene.seen.evidence, scene.spec.rollout.shadow.min_samples
    if evidence is None:
        return "compared in shadow: waiting for the first samples"
    safety = next((gate.safety_evidence for gate in evidence.gates if gate.name == MISMATCH), 0.0)
    distinct = f"{evidence.compared_distinct} distinct inputs (at least {wanted})"
    return f"compared in shadow: {safety:.0%} proven, {distinct}{_rolling(scene)}"


def _rolling(scene: Scene) -> str:
    return "; pods of an older spec count no more for the gates that it changed" if scene.is_rolling else ""
