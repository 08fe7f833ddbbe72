"""Does the CPU's integer arithmetic add to the loss? The same file, run in float without optimisations, tells.

Without VNNI two products of 8-bit factors are summed in 16 bits, and saturate if weights use all 8 bits.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from quanary.quantizer.certify.metrics import Metric, Row
from quanary.quantizer.search.evaluator import Evaluator
from quanary.quantizer.search.journal import Values
from quanary.quantizer.search.judge import FailedError
from quanary.quantizer.search.trial import Trial
from quanary.wire.report import GapFigures, clip

SEED: Final = 20_240_601
REDUCED: Final = "7-bit weights for every candidate"
_NONE: Final = "none: weights have 7 bits already, and this CPU's kernels still add to the loss"
_SWAPS: Final = 999


def probe(evaluator: Evaluator, trial: Trial) -> GapFigures | None:
    """Emulate a static candidate on the tuning samples; on a few if its sums cannot overflow. None if that fails.

    Raises:
        ExhaustedError: nothing is left to spend on it.
    """
    values = evaluator.spend(f"gap {trial.recipe.key}", lambda: _compute(evaluator, trial))
    if "failure" in values:
        if evaluator.progress is not None:
            evaluator.progress.note(f"not emulated: {values['failure']}")
        return None
    on_kernels, emulated, noise = (float(values[name]) for name in ("kernels", "emulated", "noise"))
    saturates = on_kernels - emulated > noise
    remedy = _NONE if trial.recipe.reduce_range else REDUCED
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
    metric = evaluator.judge.metric
    few = trial.recipe.portable
    try:
        on_kernels, emulated = (evaluator.judge.rows(path, optimize=each, few=few) for each in (True, False))
    except FailedError as error:
        return {"failure": clip(str(error))}
    finally:
        path.unlink()
    return {
        "kernels": metric.estimate(on_kernels).drop,
        "emulated": metric.estimate(emulated).drop,
        "noise": noise_of(metric, on_kernels, emulated),
    }
