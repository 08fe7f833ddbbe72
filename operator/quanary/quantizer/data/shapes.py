"""How one row of a data set fits a model's inputs, for every format alike."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from quanary.quantizer.data.samples import GROUP, LABEL
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError

# Booleans, integers, floats and text: a class, a value to regress to, a transcript.
LABEL_KINDS: Final = "biufU"
LABEL_ALLOWED: Final = "classes, numbers or text"
BOTH_ALLOWED: Final = "or with a first axis of samples before it"


@dataclass(frozen=True)
class Contents:
    """What the head of a shard promises. `label` describes it (empty without one), to be compared between shards."""

    samples: int
    label: str
    has_group: bool


def input_shape(row: tuple[int, ...], spec: TensorSpec) -> tuple[int, ...] | None:
    """The shape in which a row is an input: as it is, or as a batch of one. None: in neither."""
    for shape in (row, (1, *row)):
        if len(shape) == len(spec.shape) and all(
            wanted in (None, found) for found, wanted in zip(shape, spec.shape, strict=True)
        ):
            return shape
    return None


def flat_shape(length: int, spec: TensorSpec) -> tuple[int, ...] | None:
    """The shape that a flat row of `length` numbers has as an input with at most one open axis after the first."""
    shape = (1 if spec.shape[0] is None else spec.shape[0], *spec.shape[1:]) if spec.shape else ()
    known = int(np.prod([each for each in shape if each is not None], dtype=np.int64))
    open_axes = shape.count(None)
    if open_axes > 1 or (open_axes and (known == 0 or length % known)) or (not open_axes and known != length):
        return None
    return tuple(length // known if each is None else each for each in shape)


def is_dtype(found: np.dtype[np.generic], spec: TensorSpec) -> bool:
    """Whether an array has an input's type; text may be stored in any width."""
    return found.kind == "U" if spec.dtype == "object" else found == np.dtype(spec.dtype)


def label_text(dtype: np.dtype[np.generic], axes: int) -> str:
    """What must be the same in all shards; empty for what is no label."""
    kinds = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "U": "text"}
    return f"{kinds[dtype.kind]} with {axes} axes a sample" if dtype.kind in LABEL_KINDS else ""


def keys_of(names: Iterable[str], inputs: tuple[TensorSpec, ...]) -> tuple[bool, bool]:
    """Whether there is a label and a group among `names`; an input of that name is an input."""
    taken, present = {spec.name for spec in inputs}, set(names)
    return LABEL in present - taken, GROUP in present - taken


def refuse_misspelt(names: Iterable[str], inputs: tuple[TensorSpec, ...], where: str, field: str) -> None:
    """Refuse a name that means `label` or `group` but would be passed over; other names are nobody's business.

    Raises:
        RefusedError: naming it.
    """
    present = set(names)
    for name in sorted(present - {spec.name for spec in inputs}):
        for meant in {LABEL, GROUP} - present:
            like = difflib.SequenceMatcher(a=name.lower(), b=meant).ratio() > 0.85
            if like or sorted(name.lower()) == sorted(meant):
                raise RefusedError(f"{field}.uri", f"{where}: {name!r}, which nothing reads", f"{meant!r}")
