"""Two passes over the samples with the wanted tensors as outputs; of each sample only a few numbers are kept.

Peak memory is one sample's activations for each thread, whatever the number of samples. Samples may differ in shape.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto

from quanary.quantizer.calibrate.drift import InputValues, Picked, pick
from quanary.quantizer.calibrate.histogram import Histogram
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, RuntimeErrors
from quanary.wire.report import RefusedError

OBSERVED_FILE: Final = "observed.onnx"
_FLOATS: Final = frozenset({"tensor(float)", "tensor(double)", "tensor(float16)"})
# protobuf writes no message of 2 GiB.
_ONE_FILE_BYTES: Final = (1 << 31) - (1 << 24)

T = TypeVar("T")


@dataclass(frozen=True)
class Observer:
    """The model with `tensors` as outputs: those of the wanted that are floats."""

    session: ort.InferenceSession
    tensors: tuple[str, ...]
    field: str

    def observe(self, sample: Sample) -> dict[str, Array]:
        """All `tensors` for one sample.

        Raises:
            RefusedError: the model rejects it, or a tensor is not finite on it.
        """
        wanted = [name for name in self.tensors if name not in sample.feed]
        try:
            outputs = self.session.run(wanted, sample.feed) if wanted else []
        except RuntimeErrors as error:
            found = f"{sample.where}: the model rejects it: {error}"
            raise RefusedError(f"{self.field}.uri", found, "samples the model can answer") from error
        return {name: sample.feed[name] for name in self.tensors if name in sample.feed} | dict(
            zip(wanted, outputs, strict=True)
        )


def open_observer(model: ModelProto, tensors: Sequence[str], work: Path, field: str) -> Observer:
    """Write the model with `tensors` as outputs to `work`, and load it.

    Raises:
        RefusedError: the runtime cannot load it.
        ValueError: a tensor that the model does not have.
    """
    path = work / OBSERVED_FILE
    _save(_observed(model, tensors), path)
    options = ort.SessionOptions()
    # One thread a sample, so that ranges, and with them the artifact's bytes, do not depend on how work is split.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # An arena keeps the largest of everything it ever held; samples may differ in shape.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except RuntimeErrors as error:
        found = f"a graph that cannot be observed: {error}"
        raise RefusedError("spec.model.uri", found, "a model that ONNX Runtime can load") from error
    types = {each.name: each.type for each in (*session.get_inputs(), *session.get_outputs())}
    return Observer(session, tuple(name for name in dict.fromkeys(tensors) if types[name] in _FLOATS), field)


def _observed(model: ModelProto, tensors: Iterable[str]) -> ModelProto:
    known = {each.name for each in (*model.graph.input, *model.graph.initializer)}
    known |= {name for node in model.graph.node for name in node.output}
    if missing := [name for name in tensors if name not in known]:
        raise ValueError(f"tensors that the model does not have: {', '.join(missing)}")
    observed = ModelProto()
    observed.CopyFrom(model)
    present = {each.name for each in (*model.graph.output, *model.graph.input)}
    # An output survives every optimisation: no need to switch them off.
    new = dict.fromkeys(name for name in tensors if name not in present)
    observed.graph.output.extend(ValueInfoProto(name=name) for name in new)
    return observed


def _save(model: ModelProto, path: Path) -> None:
    size = sum(len(each.raw_data) for each in model.graph.initializer)
    weights = path.with_suffix(".weights")
    weights.unlink(missing_ok=True)  # onnx appends
    onnx.save(model, path, save_as_external_data=size > _ONE_FILE_BYTES, location=weights.name)


@dataclass(frozen=True)
class Seen:
    """Pass 1. `lows` and `highs` are [samples, tensors], NaN where a tensor was empty."""

    tensors: tuple[str, ...]
    lows: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]
    inputs: tuple[InputValues, ...]

    def bounds(self, kept: npt.NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
        """Range by tensor over the samples kept, with zero in it; a tensor that was always empty has none."""
        lows, highs = self.lows[kept], self.highs[kept]
        return {
            name: (min(float(np.nanmin(lows[:, i])), 0.0), max(float(np.nanmax(highs[:, i])), 0.0))
            for i, name in enumerate(self.tensors)
            if not np.isnan(lows[:, i]).all()
        }


def find_ranges(observer: Observer, samples: Iterable[Sample], threads: int = 1) -> Seen:
    """Pass 1: minimum and maximum of each tensor on each sample, and some values of each input.

    Raises:
        RefusedError: naming the sample that the model rejects, or on which a tensor is not finite.
    """

    def look(number: int, sample: Sample) -> tuple[list[tuple[float, float]], dict[str, Picked]]:
        values = observer.observe(sample)
        row = [_range(name, values[name], sample, observer.field) for name in observer.tensors]
        return row, pick(sample.feed, number)

    rows, picked = [], []
    for row, some in _map(look, samples, threads):
        rows.append(row)
        picked.append(some)
    table = np.array(rows, np.float64).reshape(len(rows), len(observer.tensors), 2)
    return Seen(observer.tensors, table[:, :, 0], table[:, :, 1], InputValues.of(picked))


def fill_histograms(
    observer: Observer, bounds: dict[str, tuple[float, float]], samples: Iterable[Sample], threads: int = 1
) -> dict[str, Histogram]:
    """Pass 2: histograms between the edges that pass 1 found."""
    histograms = {name: Histogram(low, high) for name, (low, high) in bounds.items()}

    def count(_: int, sample: Sample) -> dict[str, Histogram]:
        values = observer.observe(sample)
        one = {name: Histogram(*bounds[name]) for name in bounds}
        for name, histogram in one.items():
            histogram.add(values.pop(name))
        return one

    for one in _map(count, samples, threads):
        for name, histogram in one.items():
            histograms[name].merge(histogram)
    return histograms


def _range(name: str, values: Array, sample: Sample, field: str) -> tuple[float, float]:
    if not values.size:
        return np.nan, np.nan
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        found = f"{sample.where}: the model's tensor {name} is not finite on it"
        raise RefusedError(f"{field}.uri", found, "samples on which every activation is a number")
    return low, high


def _map(function: Callable[[int, Sample], T], samples: Iterable[Sample], threads: int) -> Iterator[T]:
    """Of each sample and its number, in order, with few more than `threads` samples in memory."""
    if threads == 1:
        yield from (function(number, sample) for number, sample in enumerate(samples))
        return
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[T]] = deque()
        for number, sample in enumerate(samples):
            if len(under_way) == threads:
                yield under_way.popleft().result()
            under_way.append(pool.submit(function, number, sample))
        while under_way:
            yield under_way.popleft().result()
