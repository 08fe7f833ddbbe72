"""Observations for tests: everything healthy unless a case says what differs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from quanary.api.v1alpha1 import (
    Artifact,
    Condemned,
    FrontArtifact,
    Progress,
    QuantizedModelSpec,
    QuantizedModelStatus,
    Signoff,
    Source,
    Verdict,
    Weight,
)
from quanary.controller.decision import Backend, JobSeen, ModelKey, Observation, RouteSeen
from quanary.controller.evidence import Evidence, GateReading
from quanary.wire.report import ArtifactFigures, Handover, Refusal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FLOAT, INT8, OTHER, NEW_FLOAT = "f" * 64, "a" * 64, "b" * 64, "e" * 64
SAFER, SAFEST = "c" * 64, "9" * 64
INPUTS, OLD_INPUTS = "1" * 64, "2" * 64
SOURCE = Source(uri="oci://registry.example:5000/models/m:1", sha256=FLOAT)


def spec_body(**changes: Any) -> dict[str, Any]:
    """A valid spec as a user would write it."""
    data = {"uri": "oci://registry.example:5000/data:1", "sha256": "d" * 64}
    body: dict[str, Any] = {
        "model": SOURCE.model_dump(by_alias=True),
        "artifacts": {"repository": "oci://registry.example:5000/artifacts"},
        "quantization": {"calibration": {"data": data}},
        "validation": {"data": data},
        "route": {"parentRefs": [{"name": "gateway"}]},
        "rollout": {"steps": [5, 50, 100], "dwell": "60s"},
    }
    return {**body, **changes}


def spec(**changes: Any) -> QuantizedModelSpec:
    """A valid spec, parsed."""
    return QuantizedModelSpec.model_validate(spec_body(**changes))


def artifact(digest: str = INT8, **changes: Any) -> Artifact:
    """A fit artifact of the present inputs."""
    return Artifact(digest=digest, inputs=INPUTS, uri="oci://r/a@sha256:1", verdict=Verdict.BENEFICIAL).model_copy(
        update=changes
    )


def evidence(**changes: Any) -> Evidence:
    """Proven, quiet, plenty of comparisons."""
    gates = (
        GateReading("mismatch", 100_000, 10, 0.02, 0.0, 1.0),
        GateReading("errors", 1000, 500, 0.001, 1.0, 0.0, 80, 40),
    )
    calm = Evidence(gates, proven=True, safe_now=True, fresh_safe=True, compared_distinct=1_000_000)
    return replace(calm, **changes)


def drifting(name: str = "input-range", *, holds: bool = True, **changes: Any) -> Evidence:
    """As `evidence`, with a gate of the inputs that holds."""
    calm = evidence(**changes)
    return replace(calm, gates=(*calm.gates, GateReading(name, 9000, 300, 0.025, 0.0, 0.1, 40, 12, holds)))


def half_way(name: str) -> tuple[GateReading, ...]:
    """Readings with half-way evidence against the artifact by that gate."""
    return tuple(replace(each, rollback_evidence=0.6 if each.name == name else 0.0) for each in evidence().gates)


def backend(digest: str, *, ready: int = 1, available: bool | None = None, **changes: Any) -> Backend:
    """One pod, ready."""
    variant = "float" if digest in {FLOAT, NEW_FLOAT} else "int8"
    usable = ready > 0 if available is None else available
    return replace(Backend(variant, digest, 1, ready, usable), **changes)  # type: ignore[arg-type]


def status(**changes: Any) -> QuantizedModelStatus:
    """Float serves."""
    return QuantizedModelStatus(source=SOURCE).model_copy(update=changes)


def canary(step: int, **changes: Any) -> QuantizedModelStatus:
    """The candidate at `step` percent for five minutes."""
    progress = Progress(step=step, since=NOW - timedelta(minutes=5), **changes.pop("progress", {}))
    return status(candidate=artifact(), progress=progress, **changes)


def seen(**changes: Any) -> Observation:
    """An observation; by default float serves and nothing is quantized yet."""
    healthy = Observation(
        now=NOW,
        key=ModelKey("team", "m"),
        uid="u",
        generation=1,
        spec=spec(),
        spec_error="",
        memory=status(),
        inputs=INPUTS,
        backends={each: backend(each) for each in (FLOAT, INT8, OTHER)},
        job=None,
        route=RouteSeen({FLOAT[:10]: 1000}, accepted=True),
        evidence=evidence(),
    )
    return replace(healthy, **changes)


def done(verdict: Verdict | None = Verdict.BENEFICIAL, refusal: Refusal | None = None) -> JobSeen:
    """The quantizer finished."""
    figures = ArtifactFigures(file="m.onnx", sha256=INT8, size_ratio=0.3, latency_ratio=1.5) if verdict else None
    handover = Handover(inputs=INPUTS, verdict=verdict, because="so it is", artifact=figures, refusal=refusal)
    return JobSeen(finished=True, handover=handover, failure="exit 1" if refusal else "")


def condemned(digest: str = INT8, reason: str = "errors") -> tuple[Condemned, ...]:
    """One condemned artifact."""
    return (Condemned(digest=digest, reason=reason, at=NOW),)


def recorded(digest: str, desired: int, observed: int) -> tuple[Weight, ...]:
    """Weights as the last status had them."""
    return (Weight(variant="int8", digest=digest, desired=desired, observed=observed),)


def signoff(lower: float = 0.0, upper: float = 0.01) -> Signoff:
    """Sealed data whose answers differ in a share between `lower` and `upper`."""
    return Signoff(
        metric="accuracy",
        float=0.95,
        int8=0.95,
        drop=0.0,
        drop_upper_bound=0.005,
        samples=1000,
        disagreement=(lower + upper) / 2,
        disagreement_upper_bound=upper,
        disagreement_lower_bound=lower,
    )


def disagreeing(lower: float, upper: float, **changes: Any) -> Artifact:
    """An artifact whose sealed answers differ from float's that often."""
    return artifact(signoff=signoff(lower, upper), disagreement_upper_bound=upper, **changes)


def front(*digests: str, inputs: str = INPUTS) -> tuple[FrontArtifact, ...]:
    """From the safest to the fastest, with the last one unsafe to go to."""
    roles = {SAFEST: "safest", SAFER: "safer", OTHER: "fastest"}
    return tuple(
        FrontArtifact(digest=each, uri="oci://r/f", inputs=inputs, role=roles[each], safer=each != OTHER)
        for each in digests
    )
