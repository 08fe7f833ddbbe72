"""A metric of one's own: `module:function` or `path.py:function`."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from typing_extensions import override

from quanary.artifacts.verify import digest_of
from quanary.quantizer.certify.metrics.fits import DifferenceOfMeans
from quanary.quantizer.certify.metrics.metric import METRIC_FIELD, Fit, Resampled, Row, refuse
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array
from quanary.wire.report import RefusedError

Score = Callable[[list[Array], Array | None], Any]


class EntryPoint(Resampled):
    """Mean of `function(outputs, label) -> float` over samples, higher is better; the drop is the difference.

    The function is asked once a sample and model, with all outputs; `label` is None where the data have none. It
    demands labels by an attribute `needs_label = True`.
    """

    sentence = (
        "(as module:function or path.py:function; command line only) mean of function(outputs, label) -> float over"
        " samples, higher is better. maxDrop: how far the mean may fall."
    )

    def __init__(self, name: str, function: Score, code: str = "") -> None:
        self.name, self._function, self.code = name, function, code
        self.needs_label = bool(getattr(function, "needs_label", False))

    @override
    def observe(self, float_outputs: list[Array], int8_outputs: list[Array], sample: Sample) -> Row:
        """Row: float's score, the artifact's, 1."""
        return self._score(float_outputs, sample), self._score(int8_outputs, sample), 1.0

    @override
    def fit(self, rows: Sequence[Row]) -> Fit:
        """Difference of means."""
        table = np.asarray(rows, np.float64)
        # Scores may be rights and wrongs: one lost altogether falls by as much as scores differ at all.
        self.event_weight = float(np.ptp(table[:, :2])) or 1.0
        return DifferenceOfMeans(table, sign=1)

    def _score(self, outputs: list[Array], sample: Sample) -> float:
        try:
            score = float(self._function(outputs, sample.label))
        except Exception as error:
            raise refuse(sample, f"{self.name} raises {error!r}", "a function that returns a number") from error
        if not np.isfinite(score):
            raise refuse(sample, f"{self.name} returns {score}", "a finite number")
        return score


def load(name: str) -> EntryPoint:
    """Import the code that `name` points to, and run it from then on.

    Raises:
        RefusedError: there is no such module, file or function.
    """
    where, _, attribute = name.rpartition(":")
    module = _module(where, name)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise RefusedError(METRIC_FIELD, name, f"a function {attribute!r} in {where}")
    file = getattr(module, "__file__", None)
    return EntryPoint(name, function, digest_of(Path(file)) if file else "")


def _module(where: str, name: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        spec = importlib.util.spec_from_file_location(Path(where).stem, where)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:
        found = f"{name}, which cannot be imported: {error!r}"
        raise RefusedError(METRIC_FIELD, found, "module:function or path.py:function") from error
    return module
