"""Which samples calibrate, which tune, and which are left alone because the sealed set has them.

Everything follows from the content of the samples, not from their order or from a random draw: the same set is always
split the same way, and a sample can be found again in any other.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from quanary.quantizer.data.samples import DataSet, select
from quanary.wire.report import RefusedError

TUNING_LIMIT: Final = 1000
# Fewer say too little: of ranges, and of which candidate is better.
FEWEST_CALIBRATION: Final = 8
FEWEST_TUNING: Final = 4


@dataclass(frozen=True)
class Content:
    """Digest and group of every sample in order; no groups without the array `group`."""

    digests: tuple[bytes, ...]
    groups: tuple[bytes, ...]

    @property
    def samples(self) -> frozenset[bytes]:
        """Each content once."""
        return frozenset(self.digests)

    @property
    def group_names(self) -> frozenset[bytes]:
        """Each group once."""
        return frozenset(self.groups)

    @property
    def sha256(self) -> str:
        """Of what is in it: the same for the same samples in whatever order, shards and format."""
        return hashlib.sha256(b"".join(sorted(self.samples))).hexdigest()

    @property
    def duplicates(self) -> int:
        """Samples whose content an earlier one has."""
        return len(self.digests) - len(self.samples)


@dataclass(frozen=True)
class Split:
    """Two sets without a sample or a group in common, nor with the sealed set."""

    calibration: DataSet
    tuning: DataSet
    duplicates: int
    groups: int
    sealed: int  # samples left out because the sealed set has them, or their group
    unused: int  # samples that neither set had room for


@dataclass(frozen=True)
class _Unit:
    """What must stay together: a group, or a sample by itself."""

    key: bytes
    positions: tuple[int, ...]


def content_of(data: DataSet) -> Content:
    """Read a whole set once, keeping digests alone.

    Raises:
        RefusedError: naming the shard and the sample at fault.
    """
    digests: list[bytes] = []
    groups: list[bytes] = []
    known: dict[bytes, bytes] = {}
    for sample in data.read():
        digests.append(sample.digest)
        if sample.group is not None:
            groups.append(known.setdefault(sample.group, sample.group))
    return Content(tuple(digests), tuple(groups))


def distinct(data: DataSet, content: Content) -> DataSet:
    """The set with each content once, its first sample: what a certificate may count."""
    positions = tuple(_first_of_each(content.digests))
    return data if len(positions) == len(content.digests) else _subset(data, content, positions)


def split(data: DataSet, calibration_samples: int, sealed: frozenset[bytes], sealed_groups: frozenset[bytes]) -> Split:
    """Part a set into at most `calibration_samples` to calibrate on and at most 1,000 others to tune on.

    Tuning gets what calibration does not take, and at least a third. `sealed` and `sealed_groups` are the content of
    the sealed set; a group with one sealed sample is sealed as a whole.

    Raises:
        RefusedError: too little is left, with the number needed.
    """
    content = content_of(data)
    first = tuple(_first_of_each(content.digests))
    if content.groups:
        sealed_groups |= {content.groups[each] for each in first if content.digests[each] in sealed}
    left = tuple(each for each in first if not _is_sealed(content, each, sealed, sealed_groups))
    units = _units(content, left)
    calibration, tuning = _share(units, min(calibration_samples, len(left) - ceil(len(left) / 3)))
    if len(calibration) < min(FEWEST_CALIBRATION, calibration_samples) or len(tuning) < FEWEST_TUNING:
        raise _too_few(data, content, left, len(units), calibration_samples)
    return Split(
        _subset(data, content, calibration),
        _subset(data, content, tuning),
        duplicates=content.duplicates,
        groups=len(content.group_names),
        sealed=len(first) - len(left),
        unused=len(left) - len(calibration) - len(tuning),
    )


def _first_of_each(digests: Iterable[bytes]) -> Iterator[int]:
    seen: set[bytes] = set()
    for position, digest in enumerate(digests):
        if digest not in seen:
            seen.add(digest)
            yield position


def _is_sealed(content: Content, position: int, sealed: frozenset[bytes], sealed_groups: frozenset[bytes]) -> bool:
    in_group = bool(content.groups) and content.groups[position] in sealed_groups
    return in_group or content.digests[position] in sealed


def _units(content: Content, positions: tuple[int, ...]) -> list[_Unit]:
    """In the order of their digests, which is as good as a shuffle and always the same."""
    if not content.groups:
        return sorted((_Unit(content.digests[each], (each,)) for each in positions), key=lambda unit: unit.key)
    members: dict[bytes, list[int]] = {}
    for each in positions:
        members.setdefault(content.groups[each], []).append(each)
    units = (_Unit(_key(content, group), tuple(group)) for group in members.values())
    return sorted(units, key=lambda unit: unit.key)


def _key(content: Content, group: list[int]) -> bytes:
    return hashlib.sha256(b"".join(sorted(content.digests[each] for each in group))).digest()


def _share(units: list[_Unit], most: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Whole units to calibration while they fit into `most`, the others to tuning while they fit there."""
    calibration: list[int] = []
    tuning: list[int] = []
    for unit in units:
        if len(calibration) + len(unit.positions) <= most:
            calibration += unit.positions
        elif len(tuning) + len(unit.positions) <= TUNING_LIMIT:
            tuning += unit.positions
    return tuple(sorted(calibration)), tuple(sorted(tuning))


def _subset(data: DataSet, content: Content, positions: tuple[int, ...]) -> DataSet:
    hasher = hashlib.sha256(b"".join(content.digests[each] for each in positions))
    return select(data, positions, hasher.hexdigest())


def _too_few(
    data: DataSet, content: Content, left: tuple[int, ...], units: int, calibration_samples: int
) -> RefusedError:
    fewest = min(FEWEST_CALIBRATION, calibration_samples)
    # Enough that a third of them tunes and the rest calibrates.
    needed = max(fewest + FEWEST_TUNING, ceil(fewest * 3 / 2))
    found = f"{len(left)} of {len(content.digests)} samples left to calibrate and tune on"
    found += f" ({content.duplicates} duplicates; the others are in the sealed set)"
    allowed = f"at least {needed} different samples that the sealed set does not have"
    if content.groups:
        found += f", in {units} groups"
        allowed += f", in groups small enough to give {fewest} of them to one set and {FEWEST_TUNING} to another"
    return RefusedError(f"{data.field}.uri", found, allowed)
