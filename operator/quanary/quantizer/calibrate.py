"""Ranges of activations on real samples: minimum and maximum of each tensor, one sample in memory at a time."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto

from quanary.quantizer.data import DataSet, Sample
from quanary.quantizer.inference import Array, Model, RuntimeErrors, open_model
from quanary.wire.report import RefusedError


@dataclasses.dataclass
class Ranges:
    """Minimum and maximum by tensor, and the digests of the samples they come from."""

    field: str
    bounds: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    samples: set[bytes] = dataclasses.field(default_factory=set)

    def widen(self, name: str, values: Array, sample: Sample) -> None:
        """Take in one tensor of one sample.

        Raises:
            RefusedError: it is not finite there.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            found = f"{sample.where}: the model's tensor {name} is not finite on it"
            raise RefusedError(f"{self.field}.uri", found, "samples on which every activation is a number")
        before = self.bounds.get(name, (low, high))
        self.bounds[name] = (min(before[0], low), max(before[1], high))


def activations_of(model: ModelProto, nodes: frozenset[str]) -> tuple[str, ...]:
    """Tensors that flow into and out of `nodes`, weights left out."""
    weights = {each.name for each in model.graph.initializer}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.name in nodes:
            names |= dict.fromkeys(each for each in (*node.input, *node.output) if each and each not in weights)
    return tuple(names)


def collect(model: ModelProto, tensors: tuple[str, ...], data: DataSet, limit: int, work: Path) -> Ranges:
    """Ranges of `tensors` over at most `limit` samples.

    Raises:
        RefusedError: naming the shard and the sample at fault.
    """
    path = work / "observed.onnx"
    onnx.save(_observed(model, tensors), path)
    # One thread, so that the ranges, and with them the artifact's bytes, do not depend on how work is split.
    observed = open_model(path, "spec.model.uri", threads=1)
    ranges = Ranges(data.field)
    for sample in data.read(limit):
        _take(ranges, observed, tensors, sample)
    return ranges


def _observed(model: ModelProto, tensors: Iterable[str]) -> ModelProto:
    """The model with `tensors` as outputs besides its own."""
    observed = ModelProto()
    observed.CopyFrom(model)
    present = {each.name for each in (*model.graph.output, *model.graph.input)}
    observed.graph.output.extend(ValueInfoProto(name=name) for name in tensors if name not in present)
    return observed


def _take(ranges: Ranges, observed: Model, tensors: tuple[str, ...], sample: Sample) -> None:
    try:
        outputs = observed.run(sample.feed)
    except RuntimeErrors as error:
        found = f"{sample.where}: the model rejects it: {error}"
        raise RefusedError(f"{ranges.field}.uri", found, "samples the model can answer") from error
    values = sample.feed | {spec.name: output for spec, output in zip(observed.outputs, outputs, strict=True)}
    for name in tensors:
        if values[name].dtype.kind == "f":
            ranges.widen(name, values[name], sample)
    ranges.samples.add(sample.digest)
