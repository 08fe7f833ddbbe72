"""Who looks at the inputs of every request once it was answered: out of the calibrated range, or drifting away."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Gauge

from quanary.server.data_plane import Inference
from quanary.server.drift.window import Window
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.server.series import Counter
from quanary.server.tensors import Tensors
from quanary.wire import metrics as names
from quanary.wire.report import DriftBaseline

# Chance takes an input over its limit in 1 % of windows: beyond so many inputs it must happen twice in a row to count.
FEW_INPUTS: Final = 5

_log = structlog.get_logger(__name__)


class DriftCounts:
    """The series of a watch: counters for the controller, and for people by input."""

    def __init__(self, metrics: Metrics, inputs: Sequence[str]) -> None:
        """Everything at zero."""
        gates, people, label = metrics.gates, metrics.people, names.INPUT_LABEL
        self.checked = Counter(names.INPUTS_CHECKED, "requests, each row of a batch one", gates)
        self.out_of_range = Counter(names.INPUTS_OUT_OF_RANGE, "of those, with a value out of range", gates)
        self.windows = Counter(names.INPUT_WINDOWS, "stretches of requests judged", gates)
        self.drifted = Counter(names.INPUT_WINDOWS_DRIFTED, "of those, unlike calibration", gates)
        self.by_input = Counter(names.INPUT_OUT_OF_RANGE, "as inputs_out_of_range", people, label)
        self.psi = Gauge(names.INPUT_PSI, "PSI of the newest window over its limit", (label,), registry=people)
        for each in inputs:
            self.by_input.add(0, each)


@dataclass(frozen=True)
class Range:
    """What calibration saw of one input. What is no number compares with nothing, so it is out of any range."""

    input: str
    low: float
    high: float

    def leaves(self, array: NDArray[Any]) -> bool:
        """Whether any value is out of it."""
        # To find where the ends are takes a fraction of the time that min and max take of a small array.
        return not (array.item(array.argmin()) >= self.low and array.item(array.argmax()) <= self.high)

    def rows_leaving(self, array: NDArray[Any], rows: int) -> NDArray[np.bool_]:
        """[rows]: of which any value is out of it."""
        flat = array.reshape(rows, -1)
        # Against a plain number numpy would round the end of the range to the type of the array.
        low, high = np.float64(self.low), np.float64(self.high)
        within: NDArray[np.bool_] = (flat.min(axis=1) >= low) & (flat.max(axis=1) <= high)
        return ~within


class DriftWatch:
    """An observer that keeps up with traffic: tens of microseconds a request, and no more memory the more come."""

    def __init__(
        self,
        baselines: Sequence[DriftBaseline],
        signature: Signature,
        counts: DriftCounts,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        """Watch these inputs of a model of that `signature`."""
        self._ranges = [Range(each.input, each.low, each.high) for each in baselines]
        self._window = Window(baselines, clock, seed)
        self._counts = counts
        # In calibration a sample is a batch of one where a batch is possible.
        self._takes_batches = all(each.shape[:1] == (-1,) for each in signature.inputs)
        self._over: frozenset[str] = frozenset()  # inputs over their limits in the window before
        self._is_drifting = False

    def see(self, inference: Inference) -> None:
        """Look at one request of a user or of a twin."""
        inputs = inference.inputs
        if any(inputs[each.input].size == 0 for each in self._ranges):
            return  # nothing to look at
        self._check_ranges(inputs)
        if (ratios := self._window.add(inputs)) is not None:
            self._judge(ratios)

    def _check_ranges(self, inputs: Tensors) -> None:
        rows = self._rows(inputs)
        self._counts.checked.add(rows)
        if leaving := [each for each in self._ranges if each.leaves(inputs[each.input])]:
            self._count_leaving(leaving, inputs, rows)

    def _count_leaving(self, leaving: Sequence[Range], inputs: Tensors, rows: int) -> None:
        out = np.zeros(rows, bool)
        for each in leaving:
            rows_leaving = each.rows_leaving(inputs[each.input], rows)
            self._counts.by_input.add(int(rows_leaving.sum()), each.input)
            out |= rows_leaving
        self._counts.out_of_range.add(int(out.sum()))

    def _rows(self, inputs: Tensors) -> int:
        """How many questions a request holds: one, or as many as its batch."""
        if not self._takes_batches:
            return 1
        sizes = {len(array) for array in inputs.values()}
        return sizes.pop() if len(sizes) == 1 else 1

    def _judge(self, ratios: dict[str, float]) -> None:
        for name, ratio in ratios.items():
            self._counts.psi.labels(name).set(ratio)
        over = frozenset(name for name, ratio in ratios.items() if ratio > 1)
        drifting = over if len(ratios) <= FEW_INPUTS else over & self._over
        self._over = over
        self._counts.windows.add(1)
        self._counts.drifted.add(bool(drifting))
        if bool(drifting) != self._is_drifting:
            _log.info("inputs drift" if drifting else "inputs are as in calibration again", inputs=sorted(drifting))
        self._is_drifting = bool(drifting)
