"""From inputs to an artifact that is fit to be rolled out. Pure."""

from dataclasses import replace

from quanary.api.v1alpha1 import Artifact, FrontArtifact, Progress, Provenance, Stage, Verdict
from quanary.controller.decision import Decision, Memory, Observation
from quanary.controller.fitness import disagreement, is_certified
from quanary.controller.scene import CERTIFICATE_LAPSED, SOON, WATCHFUL, Scene
from quanary.wire.report import Handover


def quantize_new_inputs(seen: Observation) -> Decision | None:
    """Inputs without an artifact: a Job."""
    scene = Scene(seen)
    if scene.has_artifact_of_inputs:
        return None
    memory = replace(scene.memory, candidate=None, progress=Progress(retried=scene.progress.retried))
    if problem := _job_problem(scene):
        return scene.decide(Stage.STALLED, problem, memory, quantize=True, reason="QuantizationFailed")
    if seen.job is None or not seen.job.finished:
        return scene.decide(Stage.QUANTIZING, "making and certifying the INT8 artifact", memory, quantize=True)
    if seen.job.handover is None or seen.job.handover.artifact is None:
        # Complete without a word (the message was lost): remove it and run again, the same bytes come out.
        return scene.decide(Stage.QUANTIZING, "the Job left no result: running it again", memory, after=WATCHFUL)
    return _take_over(scene, memory)


def reject_unfit_artifact(seen: Observation) -> Decision | None:
    """A verdict that `benefit` does not accept, or sealed answers that live traffic would condemn: never rolled out."""
    scene = Scene(seen)
    candidate = scene.candidate
    if candidate is None or scene.is_fit(candidate):
        return None
    if is_certified(candidate) and (difference := disagreement(scene.spec, candidate)):
        return scene.settle(Stage.REJECTED, difference, reason="Disagrees")
    return scene.settle(Stage.REJECTED, f"{candidate.verdict}: {candidate.because}", reason=candidate.verdict)


def _job_problem(scene: Scene) -> str:
    job = scene.seen.job
    if job is None:
        return ""
    if job.handover and job.handover.refusal:
        return job.handover.refusal.sentence
    if not job.failure:
        return ""
    return f"the quantizer {'failed' if job.finished else 'cannot start'}: {job.failure}"


def _take_over(scene: Scene, memory: Memory) -> Decision:
    """Remember the handed-over artifact; the Job may go once it is in the status."""
    handover = scene.seen.job.handover if scene.seen.job else None
    if handover is None or handover.artifact is None or handover.verdict is None:
        message = "called with a handover only"
        raise AssertionError(message)
    artifact = Artifact(
        digest=handover.artifact.sha256,
        uri=handover.uri,
        inputs=scene.seen.inputs,
        verdict=Verdict(handover.verdict),
        because=handover.because,
        size_ratio=handover.artifact.size_ratio,
        latency_ratio=handover.artifact.latency_ratio,
        signoff=handover.signoff,
        disagreement_upper_bound=handover.signoff.disagreement_upper_bound if handover.signoff else 0,
        out_of_range_budget=handover.out_of_range_budget,
        portable=handover.artifact.portable,
        cpu_features=handover.cpu_features[:16],
    )
    memory = replace(memory, provenance=_provenance(scene, handover), front=_front(scene, handover))
    because = f"{artifact.verdict}: {artifact.because}"
    # What new sealed data show to be worse than the budget leaves traffic; where they are too few to tell, nothing
    # speaks against what live traffic has proven.
    is_bad = artifact.verdict is Verdict.OVER_BUDGET or bool(disagreement(scene.spec, artifact))
    if memory.stable and memory.stable.digest == artifact.digest and is_bad:
        memory = replace(memory, stable=None)  # the very artifact that serves was found wanting
    if memory.stable and memory.stable.digest == artifact.digest:
        # What was not certified this time was not published either: it is still where it was.
        artifact = artifact.model_copy(update={"uri": artifact.uri or memory.stable.uri})
        reason = "" if is_certified(artifact) else CERTIFICATE_LAPSED
        memory = replace(memory, stable=artifact)
        return scene.decide(Stage.PROMOTED, because, memory, reason=reason, quantize=True, after=SOON)
    return scene.decide(Stage.QUANTIZING, because, replace(memory, candidate=artifact), quantize=True, after=SOON)


def _front(scene: Scene, handover: Handover) -> tuple[FrontArtifact, ...]:
    chosen = handover.artifact.sha256 if handover.artifact else ""
    others = {each.sha256: each for each in handover.front if each.sha256 != chosen}
    return tuple(
        FrontArtifact(
            digest=each.sha256,
            uri=each.uri or _tagged(handover.uri, each.sha256),
            inputs=scene.seen.inputs,
            role=each.role[:32],
            safer=each.safer,
            size_ratio=each.size_ratio,
            drop_upper_bound=each.drop_upper_bound,
            disagreement_upper_bound=each.disagreement_upper_bound,
            portable=each.portable,
            cpu_features=handover.cpu_features[:16],
        )
        for each in others.values()
    )


def _tagged(uri: str, digest: str) -> str:
    """Where an artifact lies whose URI did not fit the handover: beside the chosen one, tagged with its digest."""
    return f"{uri.partition('@')[0]}:{digest}" if uri else ""


def _provenance(scene: Scene, handover: Handover) -> Provenance:
    spec = scene.spec
    calibration = spec.quantization.calibration
    return Provenance(
        model=spec.model.sha256,
        calibration=calibration.data.sha256 if calibration else "",
        validation=spec.validation.data.sha256,
        report=handover.report_sha256,
        tools=handover.tools,
        cpu_features=handover.cpu_features[:16],
    )
