"""Make and judge candidates, each once, and remember every one in the journal."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quanary.artifacts.verify import digest_of
from quanary.quantizer.certify.metrics import Row
from quanary.quantizer.making import Known, MakingError, make, path_of
from quanary.quantizer.progress import Progress
from quanary.quantizer.recipe import Activations, Approach, Recipe
from quanary.quantizer.search.journal import Journal, Values
from quanary.quantizer.search.judge import FailedError, Judge
from quanary.quantizer.search.subject import Subject
from quanary.quantizer.search.trial import ROUNDING, SHARE_OF_BUDGET, Trial
from quanary.wire.report import RefusedError, clip

_NEVER: Final = float("inf")
# Of candidates' files, so that those of the front need not be made twice.
_KEPT_BYTES: Final = 512 << 20
Compute = Callable[[], Values]


class ExhaustedError(Exception):
    """All evaluations, or all the time, that were allowed are used."""


@dataclass
class Evaluator:
    """Counts what it is asked for, whether computed now or recalled; so that a search goes the same way again."""

    subject: Subject
    judge: Judge
    journal: Journal
    max_drop: float
    max_evaluations: int
    work: Path
    progress: Progress | None = None
    deadline: float = _NEVER  # of the monotonic clock
    trials: dict[str, Trial] = field(default_factory=dict)
    evaluations: int = 0
    recalled: int = 0
    rows: dict[str, Sequence[Row]] = field(default_factory=dict)
    # Of the graph at opset 17, and of the one at 21.
    _known: tuple[Known, Known] = field(default_factory=lambda: ({}, {}))
    _kept: dict[Path, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Evaluations."""
        return self.max_evaluations - self.evaluations

    @property
    def is_late(self) -> bool:
        """Whether the time is up; never before the first candidate, for without one there is nothing to hand on."""
        return bool(self.trials) and time.monotonic() > self.deadline

    def evaluate(self, recipe: Recipe) -> Trial:
        """Judge a candidate; one that cannot be made or run is a trial with a failure.

        Raises:
            ExhaustedError: nothing is left to spend on it.
        """
        if recipe.key not in self.trials:
            values = self.spend(recipe.key, lambda: self._judge(recipe))
            self.trials[recipe.key] = trial = self._trial(recipe, values)
            self._say(trial)
        return self.trials[recipe.key]

    def diverges(self, recipe: Recipe) -> float:
        """Divergence on a few samples; infinite for one that cannot be made or run."""
        values = self.spend(f"few {recipe.key}", lambda: self._look(recipe))
        return float(values["divergence"])

    def spend(self, key: str, compute: Compute) -> Values:
        """An evaluation's values, from the journal or computed and journalled.

        Raises:
            ExhaustedError: nothing is left to spend on it.
        """
        if self.left <= 0 or self.is_late:
            raise ExhaustedError
        self.evaluations += 1
        values = self.journal.find(key)
        if values is None:
            values = compute()
            self.journal.add(key, values)
        else:
            self.recalled += 1
        return values

    def make(self, recipe: Recipe) -> Path:
        """The recipe's file, the same bytes each time.

        Raises:
            MakingError: it cannot be made.
        """
        path = path_of(recipe, self.work)
        if path in self._kept:
            return path
        wide = recipe.approach == Approach.STATIC and recipe.activations == Activations.UINT16
        graph = self._wide() if wide else self.subject.normalized
        bounds = {} if recipe.approach == Approach.DYNAMIC else self.subject.bounds(recipe.method)
        return make(graph, recipe, bounds, self.work, self._known[wide])

    def discard(self, path: Path) -> None:
        """Remove a file that is not kept."""
        if path not in self._kept:
            path.unlink()

    def _keep(self, path: Path) -> None:
        """If there is room; else it is made again when it is wanted."""
        size = path.stat().st_size
        if sum(self._kept.values()) + size <= _KEPT_BYTES:
            self._kept[path] = size

    def _wide(self) -> Path:
        try:
            return self.subject.wide()
        except RefusedError as error:
            raise MakingError(str(error)) from error

    def _say(self, trial: Trial) -> None:
        if self.progress is None:
            return
        verdict = f"drop {trial.drop:.4f}, divergence {trial.divergence:.2g}, size {trial.size_ratio:.3f}"
        verdict += f", {trial.speedup:.2f} times as fast{', in budget' if trial.in_budget else ''}"
        self.progress.note(f"{self.evaluations}: {trial.recipe.text}: {trial.failure or verdict}")

    def _judge(self, recipe: Recipe) -> Values:
        try:
            path = self.make(recipe)
        except MakingError as error:
            return _failure(error)
        sha256 = digest_of(path)
        try:
            scores = self.judge.score(path)
            self._keep(path)
        except FailedError as error:
            return _failure(error)
        finally:
            self.discard(path)
        self.rows[recipe.key] = scores.rows
        return {
            "drop": scores.drop,
            "divergence": scores.divergence,
            "size": scores.size_ratio,
            "speed": scores.speedup,
            "sha256": sha256,
        }

    def _look(self, recipe: Recipe) -> Values:
        try:
            path = self.make(recipe)
        except MakingError:
            return {"divergence": _NEVER}
        try:
            return {"divergence": self.judge.diverges(path)}
        except FailedError:
            return {"divergence": _NEVER}
        finally:
            self.discard(path)

    def _trial(self, recipe: Recipe, values: Values) -> Trial:
        if "failure" in values:
            return Trial(recipe, None, "", _NEVER, _NEVER, _NEVER, 0.0, in_budget=False, failure=str(values["failure"]))
        drop = float(values["drop"])
        return Trial(
            recipe,
            None,
            str(values["sha256"]),
            drop,
            float(values["divergence"]),
            float(values["size"]),
            float(values["speed"]),
            in_budget=drop <= self.max_drop * SHARE_OF_BUDGET + ROUNDING,
        )


def _failure(error: Exception) -> Values:
    return {"failure": clip(str(error))}
