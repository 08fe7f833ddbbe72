"""From inputs to an artifact that is fit to be rolled out. Pure."""

from dataclasses import replace

from quanary.api.v1alpha1 import Artifact, Progress, Provenance, Stage, Verdict
from quanary.controller.decision import Decision, Memory, Observation
from quanary.controller.scene import SOON, WATCHFUL, Scene
from quanary.wire.report import Handover


def quantize_new_inputs(seen: Observation) -> Decision | None:
    """Inputs without an artifact: a Job."""
    scene = Scene(seen)
    if scene.has_artifact_of_inputs:
        return None
    memory = replace(scene.memory, candidate=None, progress=Progress(retried=scene.progress.retried))
    if seen.job is None or not seen.job.finished:
        return scene.decide(Stage.QUANTIZING, "making and certifying the INT8 artifact", memory, quantize=True)
    if problem := _job_problem(scene):
        return scene.decide(Stage.STALLED, problem, memory, quantize=True, reason="QuantizationFailed")
    if seen.job.handover is None or seen.job.handover.artifact is None:
        # Complete without a word (the message was lost): remove it and run again, the same bytes come out.
        return scene.decide(Stage.QUANTIZING, "the Job left no result: running it again", memory, after=WATCHFUL)
    return _take_over(scene, memory)


def reject_unfit_artifact(seen: Observation) -> Decision | None:
    """Any verdict other than Beneficial (or what `benefit` allows): the incumbent serves."""
    scene = Scene(seen)
    candidate = scene.candidate
    if candidate is None or scene.is_fit(candidate):
        return None
    return scene.settle(Stage.REJECTED, f"{candidate.verdict}: {candidate.because}", reason=candidate.verdict)


def _job_problem(scene: Scene) -> str:
    job = scene.seen.job
    if job is None:
        return ""
    if job.handover and job.handover.refusal:
        return job.handover.refusal.sentence
    return f"the quantizer failed: {job.failure}" if job.failure else ""


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
    )
    memory = replace(memory, provenance=_provenance(scene, handover))
    because = f"{artifact.verdict}: {artifact.because}"
    if memory.stable and memory.stable.digest == artifact.digest:
        return scene.decide(Stage.PROMOTED, because, replace(memory, stable=artifact), quantize=True, after=SOON)
    return scene.decide(Stage.QUANTIZING, because, replace(memory, candidate=artifact), quantize=True, after=SOON)


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
