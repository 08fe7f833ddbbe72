"""Whoever runs the model: `worker` behind a thread, `inline` on the event loop, in batches that `sweep` chose.

`Engine` is the seam for whatever stands between a request and the model: what a wrapper delays, breaks or raises is
seen by the gates and by the comparison as if the model did it.
"""

from collections.abc import Awaitable
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from quanary.server.soon import There
from quanary.server.tensors import Tensors


class Execution(There, msgspec.Struct, frozen=True):
    """All outputs in the model's order, and how long the model itself runs on this input when it runs alone."""

    outputs: dict[str, NDArray[Any]]
    seconds: float


class Overloaded(RuntimeError):  # noqa: N818
    """The queue before the model is full."""


class Engine(Protocol):
    """Whoever turns inputs into outputs."""

    def infer(self, inputs: Tensors) -> Awaitable[Execution]:
        """Run the model; whatever that raises, at once or when awaited, but `Overloaded`, is the model's failure."""
        ...
