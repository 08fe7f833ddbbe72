"""What is searched, and on what it is judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Model
from quanary.quantizer.recipe import Method


class Tuning(Protocol):
    """Samples that are neither calibrated on nor sealed; with a limit, that many, evenly spread."""

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        """In an order that never changes."""


@dataclass(frozen=True)
class Subject:
    """A float model, its normalised graph, and what calibration learnt.

    `wide` gives the graph at opset 21, that 16-bit activations need, or refuses; `key` covers model, normaliser and
    calibration.
    """

    model: Model
    normalized: Path
    wide: Callable[[], Path]
    bounds: Callable[[Method], dict[str, tuple[float, float]]]
    tuning: Tuning
    key: str
