"""Whether an artifact may be rolled out: its verdict, and its sealed answers against the mismatch gate. Pure."""

from typing import Final

from quanary.api.v1alpha1 import Artifact, QuantizedModelSpec, Verdict

# Bounds of the mismatch gate that follows from sealed data: tighter takes long to prove, wider says nothing.
LEAST_GATE: Final = 0.02
LARGEST_GATE: Final = 0.5
# More than this share of requests out of range is nothing that any calibration can have meant.
LARGEST_RANGE_GATE: Final = 0.9

_CERTIFIED: Final = frozenset({Verdict.NOT_BENEFICIAL, Verdict.SIZE_ONLY, Verdict.INCONCLUSIVE, Verdict.BENEFICIAL})


def mismatch_gate(spec: QuantizedModelSpec, artifact: Artifact) -> float:
    """The share of answers that may differ: what the user says, else twice what sealed data leave possible."""
    if spec.gates.mismatch is not None:
        return spec.gates.mismatch
    return min(max(LEAST_GATE, 2 * artifact.disagreement_upper_bound), LARGEST_GATE)


def range_gate(spec: QuantizedModelSpec, artifact: Artifact) -> float:
    """The share of requests that may leave the calibrated range: what the user says, else its budget; 0: unknown."""
    if spec.gates.input_range is not None:
        return spec.gates.input_range
    return min(artifact.out_of_range_budget, LARGEST_RANGE_GATE)


def drift_gate(spec: QuantizedModelSpec, artifact: Artifact) -> float:
    """The share of stretches of requests that may drift; 0: the artifact brought no baseline of its inputs."""
    return spec.gates.input_drift if artifact.out_of_range_budget else 0.0


def is_certified(artifact: Artifact) -> bool:
    """Whether its newest certificate holds."""
    return artifact.verdict in _CERTIFIED


def is_accepted(spec: QuantizedModelSpec, artifact: Artifact) -> bool:
    """Whether `benefit` lets its verdict be rolled out."""
    # One out of the front was asked for by `rollback.to`: it was certified, and safety is why it was taken.
    if artifact.verdict is Verdict.BENEFICIAL or artifact.role:
        return True
    if not spec.benefit.required:
        return artifact.verdict in _CERTIFIED
    return str(artifact.verdict) in spec.benefit.accept


def disagreement(spec: QuantizedModelSpec, artifact: Artifact) -> str:
    """Why live traffic would condemn it, as far as sealed data prove; empty if they do not."""
    gate, signoff = mismatch_gate(spec, artifact), artifact.signoff
    if signoff is None or signoff.disagreement_lower_bound <= gate:
        return ""
    return (
        f"sealed data prove that at least {signoff.disagreement_lower_bound:.2%} of answers differ from float's; "
        f"{_name(spec)} allows {gate:.2%}"
    )


def warning(spec: QuantizedModelSpec, artifact: Artifact) -> str:
    """Why its proof may never come; empty if nothing speaks against it."""
    gate, bound = mismatch_gate(spec, artifact), artifact.disagreement_upper_bound
    if bound <= gate / 2:
        return ""
    return f"up to {bound:.2%} of answers may differ by sealed data, {_name(spec)} is {gate:.2%}: it may hold here"


def _name(spec: QuantizedModelSpec) -> str:
    return "gates.mismatch" if spec.gates.mismatch is not None else "the default mismatch gate"
