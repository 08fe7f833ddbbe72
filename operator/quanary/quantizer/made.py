"""What making, or bringing along, has led to: a front of candidates from the safest to the fastest, and how."""

from dataclasses import dataclass, field

from quanary.quantizer.inference import Model
from quanary.wire.report import (
    CalibrationFigures,
    DriftBaseline,
    GapFigures,
    GraphFigures,
    SearchFigures,
    TensorFigures,
)


@dataclass(frozen=True)
class Candidate:
    """One INT8 model to be certified. `speedup` is the search's quick look, 0 if nobody looked."""

    model: Model
    sha256: str
    role: str
    recipe: str
    size_ratio: float
    tuning_drop: float = 0.0
    speedup: float = 0.0
    portable: bool = True
    graph: GraphFigures | None = None
    tensors: tuple[TensorFigures, ...] = ()


@dataclass(frozen=True)
class Made:
    """All of it; what a provided model does not have is absent."""

    front: tuple[Candidate, ...]
    calibration: CalibrationFigures | None = None
    search: SearchFigures | None = None
    gap: GapFigures | None = None
    drift: tuple[DriftBaseline, ...] = ()
    seeds: dict[str, int] = field(default_factory=dict)
    samples_in_both: int = 0
    warnings: tuple[str, ...] = ()
