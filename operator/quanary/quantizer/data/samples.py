"""What a data set is to everyone else: checked samples, read anew from their source each time."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import numpy as np

from quanary.quantizer.inference import Array
from quanary.wire.report import RefusedError

LABEL: Final = "label"
GROUP: Final = "group"
# A few bytes can claim any number of samples; the digests of this many take about half a gigabyte.
SAMPLES_LIMIT: Final = 1 << 22


@dataclass(frozen=True)
class Sample:
    """One question to a model. `group` is what its near-duplicates share."""

    shard: str
    index: int
    feed: dict[str, Array]
    label: Array | None
    group: bytes | None = None

    @property
    def where(self) -> str:
        """For messages."""
        return f"shard {self.shard}, sample {self.index}"

    @cached_property
    def digest(self) -> bytes:
        """Of its inputs, to find a sample again in another set, whatever format that has."""
        hasher = hashlib.sha256()
        for name in sorted(self.feed):
            array = self.feed[name]
            hasher.update(f"{name} {array.dtype} {array.shape} ".encode() + _bytes(array))
        return hasher.digest()


@dataclass(frozen=True)
class DataSet:
    """A checked source of samples; `counts` are the samples of its shards, in reading order."""

    path: Path
    sha256: str
    field: str
    counts: tuple[tuple[str, int], ...]
    has_label: bool
    has_group: bool
    stream: Callable[[], Iterator[Sample]]

    @property
    def samples(self) -> int:
        """In all shards."""
        return sum(count for _, count in self.counts)

    def read(self, limit: int | None = None) -> Iterator[Sample]:
        """Samples in order; with a `limit`, that many, evenly spread over the set.

        Raises:
            RefusedError: naming the shard and the sample at fault.
        """
        total = self.samples
        wanted = total if limit is None else min(limit, total)
        # The k-th of `wanted` is number floor(k * total / wanted): no draw, so no seed.
        for sample in self.pick(number * total // wanted for number in range(wanted)):
            require_finite(sample, self.field)
            yield sample

    def pick(self, positions: Iterable[int]) -> Iterator[Sample]:
        """The samples at ascending `positions`, not yet checked; what follows the last is not read.

        Raises:
            RefusedError: the source has fewer samples than it had at first.
        """
        source = enumerate(self.stream())
        for wanted in positions:
            sample = next((sample for position, sample in source if position == wanted), None)
            if sample is None:
                found = f"fewer samples in {self.path} than the {self.samples} it had at first"
                raise RefusedError(f"{self.field}.uri", found, "data that stays as it is while it is read")
            yield sample


def select(data: DataSet, positions: tuple[int, ...], sha256: str) -> DataSet:
    """The samples at ascending `positions` as a data set of its own, read from the same source."""
    counts = tuple((name, count) for name, count in _counts_at(data.counts, positions) if count)
    stream = partial(data.pick, positions)
    return DataSet(data.path, sha256, data.field, counts, data.has_label, data.has_group, stream)


def require_finite(sample: Sample, field: str) -> None:
    """Refuse a sample with NaN or infinity in an input or its label.

    Raises:
        RefusedError: naming the shard, the sample and the array.
    """
    arrays = sample.feed if sample.label is None else sample.feed | {LABEL: sample.label}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RefusedError(f"{field}.uri", f"{sample.where}: NaN or infinity in {name}", "finite numbers")


def group_of(value: object) -> bytes:
    """The key of a group: the same for equal values in whatever width or format they are stored."""
    return repr(value).encode()


def _counts_at(counts: tuple[tuple[str, int], ...], positions: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    edges = np.cumsum([0, *(count for _, count in counts)])
    inside = np.diff(np.searchsorted(np.array(positions, np.int64), edges))
    for (name, _), count in zip(counts, inside, strict=True):
        yield name, int(count)


def _bytes(array: Array) -> bytes:
    if array.dtype.kind != "O":
        return array.tobytes()
    texts = [str(each).encode() for each in array.ravel()]
    return b"".join(f"{len(text)} ".encode() + text for text in texts)
