"""Does the CPU's integer arithmetic add to the loss? The same file, run in float without optimisations, tells.

Without VNNI two products of 8-bit factors are summed in 16 bits, and saturate if weights use all 8 bits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from quanary.quantizer.certify.metrics import Metric, Row
from quanary.quantizer.progress import Progress
from quanary.quantizer.search.evaluator import Evaluator
from quanary.quantizer.search.journal import Values
from quanary.quantizer.search.judge import FailedError, Judge
from quanary.quantizer.search.trial import Trial
from quanary.wire.report import GapFigures, clip

SEED: Final = 20_240_601
REDUCED: Final = "7-bit weights for every candidate"
_NONE: Final = "none: weights have 7 bits already, and this CPU's kernels still add to the loss"
_NOT_OURS: Final = "none: it was brought along; made with 7-bit weights it would not saturate"
_SWAPS: Final = 999


def probe(evaluator: Evaluator, trial: Trial) -> GapFigures | None:
    """Emulate a static candidate on the tuning samples; on a few if its sums cannot overflow. None if that fails.

    Raises:
        ExhaustedError: nothing is left to spend on it.
    """
    values = evaluator.spend(f"gap {trial.recipe.key}", lambda: _compute(evaluator, trial))
    return _figures(values, _NONE if trial.recipe.reduce_range else REDUCED, evaluator.progress)


def probe_provided(judge: Judge, path: Path, progress: Progress, *, portable: bool) -> GapFigures | None:
    """Emulate a model that was brought along, on samples that nothing is chosen by any more."""
    return _figures(_compare(judge, path, few=portable), _NONE if portable else _NOT_OURS, progress)


def _figures(values: Values, remedy: str, progress: Progress | None) -> GapFigures | None:
    if "failure" in values:
        if progress is not None:
            progress.note(f"not emulated: {values['failure']}")
        return None
    on_kernels, emulated, noise = (float(values[name]) for name in ("kernels", "emulated", "noise"))
    saturates = on_kernels - emulated > noise
    return GapFigures(
        drop_on_kernels=on_kernels,
        drop_emulated=emulated,
        noise=noise,
        saturates=saturates,
        remedy=remedy if saturates else "",
    )


def noise_of(metric: Metric, on_kernels: Sequence[Row], emulated: Sequence[Row]) -> float:
    """The gap that chance alone explains: a paired permutation test, two-sided at 5 % (Fisher, 1935).

    If the kernels were no worse, swapping the two rows of a sample would change nothing.
    """
    differing = [index for index, pair in enumerate(zip(on_kernels, emulated, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return 0.0
    gaps = []
    for swaps in np.random.default_rng(SEED).random((_SWAPS, len(differing))) < 0.5:
        one, other = list(on_kernels), list(emulated)
        for index, swapped in zip(differing, swaps, strict=True):
            if swapped:
                one[index], other[index] = other[index], one[index]
        gaps.append(abs(metric.estimate(one).drop - metric.estimate(other).drop))
    return float(np.quantile(gaps, 0.95))


def _compute(evaluator: Evaluator, trial: Trial) -> Values:
    path = evaluator.make(trial.recipe)
    try:
        known = evaluator.rows.get(trial.recipe.key)
        return _compare(evaluator.judge, path, few=trial.recipe.portable, on_kernels=known)
    finally:
        evaluator.discard(path)


def _compare(judge: Judge, path: Path, *, few: bool, on_kernels: Sequence[Row] | None = None) -> Values:
    """`on_kernels`: rows known already, in the judge's order."""
    metric = judge.metric
    try:
        emulated = judge.rows(path, optimize=False, few=few)
        if on_kernels is None or len(on_kernels) < len(emulated):
            on_kernels = judge.rows(path, optimize=True, few=few)
    except FailedError as error:
        return {"failure": clip(str(error))}
    on_kernels = on_kernels[: len(emulated)]
    return {
        "kernels": metric.estimate(on_kernels).drop,
        "emulated": metric.estimate(emulated).drop,
        "noise": noise_of(metric, on_kernels, emulated),
    }
