"""Activation ranges of a graph on real samples, by any method, from the cache if nothing has changed."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from onnx import ModelProto
from pydantic import BaseModel

from quanary.quantizer.calibrate import drift, outliers
from quanary.quantizer.calibrate.cache import Cache, key_of
from quanary.quantizer.calibrate.collect import Seen, fill_histograms, find_ranges, open_observer
from quanary.quantizer.calibrate.histogram import BINS, Histogram
from quanary.quantizer.calibrate.methods import RANGE_OF, Range
from quanary.quantizer.data import Sample
from quanary.quantizer.progress import Progress
from quanary.quantizer.recipe import Method
from quanary.wire.drift import SMOOTHING
from quanary.wire.report import DriftBaseline, Exclusion, RefusedError

SETTINGS: Final[Mapping[str, float | tuple[int, ...]]] = {
    "bins": BINS,
    "driftValues": drift.VALUES_PER_SAMPLE,
    "driftBins": drift.INNER_BINS,
    "driftSizes": drift.SIZES,
    "driftSeed": drift.SEED,
    "driftResamples": drift.RESAMPLES,
    "driftQuantile": drift.QUANTILE,
    "driftSmoothing": SMOOTHING,
    "outlierZ": outliers.Z_LIMIT,
    "outlierGap": outliers.GAP,
    "outlierInputGap": outliers.INPUT_GAP,
    "outlierAgreeing": outliers.AGREEING,
    "outlierMost": outliers.MOST,
}
_RANGES, _HISTOGRAMS = "ranges", "histograms"


class Data(Protocol):
    """Samples that can be read again and again, in the same order."""

    @property
    def field(self) -> str:
        """Of the resource, for refusals."""

    @property
    def samples(self) -> int:
        """How many there are."""

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        """At most `limit` of them."""


class FirstPass(BaseModel):
    """Pass 1 and what follows from it, as the cache keeps it."""

    ranges: dict[str, Range]
    kept: tuple[bool, ...]
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    baselines: tuple[DriftBaseline, ...]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What `tensors` and inputs looked like. Pass 2 runs when a method first asks for histograms."""

    ranges: Mapping[str, Range]
    samples: frozenset[bytes]  # all that were read, those left out too
    used: int
    excluded: tuple[Exclusion, ...]
    warnings: tuple[str, ...]
    baselines: tuple[DriftBaseline, ...]
    seeds: Mapping[str, int]
    key: str
    from_cache: bool
    count: Callable[[], Mapping[str, Histogram]]
    _bounds: dict[Method, dict[str, Range]] = field(default_factory=dict)

    @cached_property
    def histograms(self) -> Mapping[str, Histogram]:
        """Of every tensor with a range."""
        return self.count()

    def bounds(self, method: Method) -> dict[str, Range]:
        """Range by tensor, zero always in it; those with levels in mind mean 8-bit ones."""
        if method == Method.MIN_MAX:
            return dict(self.ranges)
        if method not in self._bounds:
            self._bounds[method] = {name: RANGE_OF[method](each) for name, each in self.histograms.items()}
        return self._bounds[method]

    def clipped(self, method: Method) -> dict[str, float]:
        """By tensor, the share of calibration values that the range cuts off."""
        if method == Method.MIN_MAX:
            return dict.fromkeys(self.ranges, 0.0)
        bounds = self.bounds(method)
        return {name: histogram.share_outside(*bounds[name]) for name, histogram in self.histograms.items()}


@dataclass(frozen=True)
class Source:
    """The samples to read, and which they were when first read."""

    data: Data
    limit: int
    digests: tuple[bytes, ...]
    where: tuple[str, ...]
    groups: tuple[bytes | None, ...]
    progress: Progress | None

    @classmethod
    def of(cls, data: Data, limit: int, progress: Progress | None) -> "Source":
        """Read them once.

        Raises:
            RefusedError: there are none.
        """
        read = [(each.digest, each.where, each.group) for each in data.read(limit)]
        if not read:
            raise RefusedError(f"{data.field}.uri", "no samples", "at least one sample to calibrate on")
        digests, where, groups = zip(*read, strict=True)
        return cls(data, limit, digests, where, groups, progress)

    def read(self, kept: npt.NDArray[np.bool_] | None = None) -> Iterator[Sample]:
        """Those that are `kept`, or all, again.

        Raises:
            RefusedError: they are not what they were.
        """
        samples = self.data.read(self.limit)
        if self.progress:
            samples = self.progress.watch(samples, len(self.digests))
        for i, sample in enumerate(samples):
            if i >= len(self.digests) or sample.digest != self.digests[i]:
                found = f"{sample.where}: another one than before"
                raise RefusedError(f"{self.data.field}.uri", found, "data that do not change while they are read")
            if kept is None or kept[i]:
                yield sample


def calibrate(  # noqa: PLR0913
    graph: ModelProto,
    tensors: tuple[str, ...],
    data: Data,
    limit: int,
    work: Path,
    *,
    cache: Path | None,
    model_sha256: str,
    progress: Progress | None = None,
    threads: int = 1,
) -> Calibration:
    """Ranges of the float ones of `tensors` over at most `limit` samples, with as many samples at a time as `threads`.

    The result does not depend on `threads`.

    Raises:
        RefusedError: naming the sample that the model rejects, or on which a tensor is not finite.
    """
    source = Source.of(data, limit, progress)
    kept_in = Cache(cache, key_of(model_sha256, graph, source.digests, tensors, SETTINGS))
    stored = kept_in.get(_RANGES)
    if stored is None:
        observer = open_observer(graph, tensors, work, data.field)
        ranges = _judge(find_ranges(observer, source.read(), threads), source)
        kept_in.put(_RANGES, ranges.model_dump_json().encode())
    else:
        ranges = FirstPass.model_validate_json(stored)

    def count() -> Mapping[str, Histogram]:
        stored = kept_in.get(_HISTOGRAMS)
        if stored is not None:
            return _unpack(stored, ranges.ranges)
        observer = open_observer(graph, tuple(ranges.ranges), work, data.field)
        histograms = fill_histograms(observer, ranges.ranges, source.read(np.array(ranges.kept)), threads)
        kept_in.put(_HISTOGRAMS, _pack(histograms))
        return histograms

    return Calibration(
        ranges=ranges.ranges,
        samples=frozenset(source.digests),
        used=sum(ranges.kept),
        excluded=ranges.excluded,
        warnings=ranges.warnings,
        baselines=ranges.baselines,
        seeds={"drift": drift.SEED},
        key=kept_in.key,
        from_cache=stored is not None,
        count=count,
    )


def _judge(seen: Seen, source: Source) -> FirstPass:
    reach = np.maximum(np.abs(seen.lows), np.abs(seen.highs))
    tensors = {name: reach[:, i] for i, name in enumerate(seen.tensors)}
    floats = [each for each in seen.inputs if np.dtype(each.dtype).kind == "f"]
    inputs = {each.name: np.maximum(np.abs(each.lows), np.abs(each.highs)) for each in floats}
    judgement = outliers.judge(tensors, inputs, source.where)
    excluded = tuple(Exclusion(where=source.where[i], reason=reason) for i, reason in judgement.reasons.items())
    if source.progress:
        for line in (*(f"left out {each.where}: {each.reason}" for each in excluded), *judgement.warnings):
            source.progress.note(line)
    return FirstPass(
        ranges=seen.bounds(judgement.kept),
        kept=tuple(judgement.kept.tolist()),
        excluded=excluded,
        warnings=judgement.warnings,
        baselines=drift.baselines_of(seen.inputs, judgement.kept, source.groups),
    )


def _pack(histograms: Mapping[str, Histogram]) -> bytes:
    buffer = io.BytesIO()
    counts = [each.counts for each in histograms.values()]
    zeros = [each.zeros for each in histograms.values()]
    np.savez_compressed(buffer, names=list(histograms), counts=counts, zeros=zeros)
    return buffer.getvalue()


def _unpack(body: bytes, ranges: Mapping[str, Range]) -> dict[str, Histogram]:
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        columns = zip(stored["names"].tolist(), stored["counts"], stored["zeros"].tolist(), strict=True)
        return {name: Histogram(*ranges[name], counts, zeros) for name, counts, zeros in columns}
