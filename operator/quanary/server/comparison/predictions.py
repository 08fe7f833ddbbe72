"""What the model says to users, counted by class: a share that moves without a cause in the world is a finding."""

from collections import Counter
from typing import Final

import numpy as np

from quanary.server.comparison.divergence import Array
from quanary.server.comparison.measure import Measure
from quanary.server.data_plane import Inference
from quanary.server.metrics import Metrics

CLASSES_LIMIT: Final = 20
OTHER: Final = "other"
# Every user's request pays for it: an answer of more values (a class for every pixel, say) is not counted.
VALUES_LIMIT: Final = 2**14
SEEN_TOGETHER: Final = 64
_NAME_LIMIT: Final = 64


class Predictions:
    """Watches top-1 answers; the classes first seen have a series each, all others share one."""

    def __init__(self, measure: Measure, metrics: Metrics) -> None:
        """Count the classes of the output that `measure` compares."""
        self._measure = measure
        self._metrics = metrics
        self._known: set[str] = set()
        self._seen: list[Array] = []
        self._values = 0
        metrics.before_rendering.append(self._count)

    def see(self, inference: Inference) -> None:
        """Count each row's class, some answers together: by itself it is a tenth of a tiny model's request."""
        output = inference.own[self._measure.output]
        if not 0 < output.size <= VALUES_LIMIT:
            return
        if self._seen and output.shape != self._seen[0].shape:
            self._count()
        self._seen.append(output)
        self._values += output.size
        if len(self._seen) >= SEEN_TOGETHER or self._values >= VALUES_LIMIT:
            self._count()

    def _count(self) -> None:
        if not self._seen:
            return
        # Of one shape: what is no batch becomes a row of one, not a part of a longer row.
        said = self._measure.keep(np.vstack(self._seen))
        self._seen.clear()
        self._values = 0
        for each, rows in Counter(said.ravel().tolist()).items():
            self._metrics.count_predictions(self._label(str(each)), rows)

    def _label(self, said: str) -> str:
        said = said[:_NAME_LIMIT]
        if said not in self._known:
            if len(self._known) >= CLASSES_LIMIT:
                return OTHER
            self._known.add(said)
        return said
