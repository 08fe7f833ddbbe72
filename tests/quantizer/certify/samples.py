"""Samples and outputs, as models and data sets would give them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quanary.quantizer.certify import Estimate, Metric
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array


def sample(label: Any = None, group: bytes | None = None, index: int = 0) -> Sample:
    return Sample("a.npz", index, {}, None if label is None else np.asarray(label), group)


def scores(*rows: Sequence[float]) -> list[Array]:
    return [np.array(rows, np.float32)]


def one_hot(classes: int, answer: int) -> list[Array]:
    return [np.eye(classes, dtype=np.float32)[None, answer]]


def estimate(metric: Metric, *cases: tuple[list[Array], list[Array], Any]) -> Estimate:
    """Of float outputs, int8 outputs and label, one triple a sample."""
    return metric.estimate([metric.observe(first, second, sample(label)) for first, second, label in cases])
