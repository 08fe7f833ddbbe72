"""The proof that a step changed nothing: the same outputs on real samples."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from quanary.quantizer.graph.read import FIELD
from quanary.quantizer.graph.steps import NormalizationError
from quanary.quantizer.inference import Array, Model, answers_of, open_model

# Of any output against the source model's: float32 sums in another order.
RELATIVE: Final = 1e-3
ABSOLUTE: Final = 1e-4

Feed = Mapping[str, Array]


def largest_difference(source: Model, normalized: Path, feeds: Iterable[tuple[str, Feed]]) -> float:
    """Over all float outputs of all samples. A feed comes with the words for where it is from.

    Raises:
        NormalizationError: it is more than another order of sums explains, or an output of whole numbers differs.
        RefusedError: on the sample's data, the source model itself rejects it.
    """
    other = open_model(normalized, FIELD)
    largest = 0.0
    for where, feed in feeds:
        for before, after in zip(answers_of(source, feed, where, FIELD), other.run(dict(feed)), strict=True):
            if not _is_equal(before, after):
                message = f"outputs differ on {where}"
                raise NormalizationError(message)
            if before.size and before.dtype.kind == "f":
                # Equal infinities have no difference.
                with np.errstate(invalid="ignore"):
                    largest = max(largest, float(np.nan_to_num(np.abs(after - before)).max()))
    return largest


def _is_equal(before: Array, after: Array) -> bool:
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if before.dtype.kind != "f":
        return bool(np.array_equal(before, after))
    return bool(np.allclose(after, before, RELATIVE, ABSOLUTE, equal_nan=True))
