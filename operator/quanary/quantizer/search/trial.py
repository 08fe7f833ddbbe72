"""What the search knows of one candidate, and what it has found in the end."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.quantizer.recipe import Recipe
from quanary.wire.report import GapFigures, LayerFigures, TrialFigures

# What was tuned on looks better than it is: nine of nine measured searches that met their budget on tuning samples
# failed it on unseen ones. At half of the budget a sealed set of the usual size certifies in four cases of five.
SHARE_OF_BUDGET: Final = 0.5
# A drop is a difference of floats.
ROUNDING: Final = 1e-9


@dataclass(frozen=True)
class Trial:
    """One candidate, judged on tuning samples. Ratios: size INT8 over FP32, time FP32 over INT8 (a quick look).

    `in_budget` has a margin: the drop is at most half of the budget.
    """

    recipe: Recipe
    path: Path | None
    sha256: str
    drop: float
    divergence: float
    size_ratio: float
    speedup: float
    in_budget: bool
    failure: str = ""
    role: str = ""

    @property
    def figures(self) -> TrialFigures:
        """For the report. JSON has no infinity: one that failed has no other figures."""
        known = (self.drop, self.divergence, self.size_ratio, self.speedup)
        drop, divergence, size_ratio, speedup = (0.0,) * 4 if self.failure else known
        return TrialFigures(
            recipe=self.recipe.text,
            drop=drop,
            divergence=divergence,
            size_ratio=size_ratio,
            speedup=speedup,
            in_budget=self.in_budget,
            sha256=self.sha256,
            failure=self.failure,
        )


@dataclass(frozen=True)
class Found:
    """The front from the safest to the fastest, with files and roles; and what it took.

    `metric` is what the tuning samples judged by. `evaluations` counts candidates, layers and the emulation, `recalled`
    those of them that an earlier run had made.
    """

    front: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    layers: tuple[LayerFigures, ...]
    gap: GapFigures | None
    metric: str
    evaluations: int
    recalled: int
    seeds: dict[str, int]
    warnings: tuple[str, ...] = ()
