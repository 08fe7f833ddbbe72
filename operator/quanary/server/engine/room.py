"""The bounded room before a model, and what is seen of it."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from quanary.server.engine import Overloaded
from quanary.server.series import Histogram
from quanary.wire import metrics as names

WAITING_LIMIT: Final = 128


class Room:
    """Places for requests from when they come until the model has answered them. For the event loop alone."""

    def __init__(self, registry: CollectorRegistry, limit: int = WAITING_LIMIT) -> None:
        """Nobody waits."""
        self._limit = limit
        self._held = 0
        sizes = [2**power for power in range(8)]
        self._batch_size = Histogram(names.BATCH_SIZE, "requests of one inference", sizes, registry)
        queued = Gauge(names.QUEUED, "requests that wait for the model or are in it", registry=registry)
        queued.set_function(lambda: self._held)

    def enter(self) -> None:
        """Take a place.

        Raises:
            Overloaded: there is none.
        """
        if self._held >= self._limit:
            message = f"{self._held} requests wait for the model already"
            raise Overloaded(message)
        self._held += 1

    def leave(self, count: int) -> None:
        """Give places back."""
        self._held -= count

    def count_batch(self, size: int) -> None:
        """One inference of so many requests."""
        self._batch_size.observe(size)
