"""Stretches of requests, each judged as a whole: is what they hold distributed as calibration was?"""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.tensors import Tensors
from quanary.wire.drift import psi
from quanary.wire.report import DriftBaseline

# A shift of this PSI is held to be significant by convention. Live traffic is never exactly what calibration was, and
# long windows would prove what harms nobody.
SIGNIFICANT: Final = 0.2
# Of one input of one request, drawn at random. At least as many as calibration took of a sample: fewer would vary more.
VALUES_PER_REQUEST: Final = 64
# Under load not every request enters: neighbours are alike (one user, one stream), and a window must see many.
LEAST_SECONDS: Final = 30.0
# Values counted at once: a call of numpy costs more than the work on a few.
_PENDING_VALUES: Final = 4096
_PENDING_REQUESTS: Final = 256
_ROWS_OF_NUMBERS: Final = 64


class Bins:
    """Values of one input by its baseline's bins."""

    def __init__(self, baseline: DriftBaseline, size: int) -> None:
        """Judge windows of `size` requests."""
        self.baseline = baseline
        self.limit = max(baseline.psi_thresholds[size], SIGNIFICANT)
        self._edges = np.asarray(baseline.edges)
        self._pending: list[NDArray[Any]] = []
        self._values = 0
        self._restart()

    def _restart(self) -> None:
        self._counts = np.zeros(len(self._edges) + 1, np.int64)

    def add(self, values: NDArray[Any]) -> None:
        """Keep them until there are enough to count."""
        self._pending.append(values)
        self._values += values.size
        if self._values >= _PENDING_VALUES or len(self._pending) >= _PENDING_REQUESTS:
            self._count()

    def close(self) -> float:
        """PSI of all values since the last close, as a share of its limit; begins anew."""
        self._count()
        ratio = psi(self.baseline, self._counts.tolist()) / self.limit
        self._restart()
        return ratio

    def _count(self) -> None:
        if self._pending:
            values = np.concatenate(self._pending).astype(np.float64)
            # As in calibration: what is no number is in no bin.
            places = np.searchsorted(self._edges, values[~np.isnan(values)], side="right")
            self._counts += np.bincount(places, minlength=len(self._counts))
        self._pending, self._values = [], 0


class Dice:
    """Random numbers by the thousand: one call for each request would cost more than all the rest."""

    def __init__(self, seed: int | None) -> None:
        """`seed` for tests; None for a server, so that nobody can tell what it looks at."""
        self._random = np.random.default_rng(seed)
        self._chance = random.Random(seed)  # noqa: S311 - a sample, no secret
        self._numbers = np.empty((0, VALUES_PER_REQUEST), np.int64)
        self._next = 0

    def says(self, share: float) -> bool:
        """Yes, in that share of calls."""
        return self._chance.random() < share

    def places(self, size: int) -> NDArray[np.int64]:
        """`VALUES_PER_REQUEST` of them, each below `size`."""
        if self._next == len(self._numbers):
            self._numbers = self._random.integers(0, 2**62, (_ROWS_OF_NUMBERS, VALUES_PER_REQUEST))
            self._next = 0
        self._next += 1
        places: NDArray[np.int64] = self._numbers[self._next - 1] % size
        return places


class Window:
    """The stretch being gathered, over all inputs."""

    def __init__(self, baselines: Sequence[DriftBaseline], clock: Callable[[], float], seed: int | None) -> None:
        """`clock` gives seconds."""
        self.size = window_size(baselines)
        self.bins = [Bins(each, self.size) for each in baselines]
        self._clock = clock
        self._dice = Dice(seed)
        self._share = 1.0  # of requests that enter
        self._restart()

    def _restart(self) -> None:
        self._began = self._clock()
        self._entered = self._seen = 0

    def add(self, inputs: Tensors) -> dict[str, float] | None:
        """One request; PSI by input, as shares of their limits, if it closes the window."""
        self._seen += 1
        if self._share < 1 and not self._dice.says(self._share):
            return None
        for each in self.bins:
            each.add(self._draw(inputs[each.baseline.input]))
        self._entered += 1
        return self._close() if self._entered >= self.size else None

    def _draw(self, array: NDArray[Any]) -> NDArray[Any]:
        flat = array.reshape(-1)
        if flat.size <= VALUES_PER_REQUEST:
            return flat.copy()  # a view would keep the whole request
        return flat.take(self._dice.places(flat.size))

    def _close(self) -> dict[str, float]:
        # At the pace of this window the next one takes the least time, or longer if few requests come.
        expected = LEAST_SECONDS * self._seen / max(self._clock() - self._began, 1e-9)
        self._share = min(1.0, self.size / expected)
        self._restart()
        return {each.baseline.input: each.close() for each in self.bins}


def common_sizes(baselines: Sequence[DriftBaseline]) -> list[int]:
    """Requests, ascending, for which every baseline has a threshold."""
    return sorted(set.intersection(*(set(each.psi_thresholds) for each in baselines)))


def window_size(baselines: Sequence[DriftBaseline]) -> int:
    """The smallest in which chance stays under `SIGNIFICANT` for every input, of those that all baselines know."""
    sizes = common_sizes(baselines)
    quiet = (size for size in sizes if all(each.psi_thresholds[size] <= SIGNIFICANT for each in baselines))
    return next(quiet, sizes[-1])
