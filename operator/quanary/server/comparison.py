"""Which answers are compared, and when two of them say the same."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.tensors import Tensors

DISTINCT_LIMIT: Final = 100_000
_NO_ANSWER: Final = -1
_HASH_RANGE: Final = 2**64


def this_hour() -> int:
    """Hours since the epoch."""
    return int(time.time() // 3600)


def top1(output: NDArray[Any]) -> NDArray[Any]:
    """What an output says, row by row: the largest class, or the side of 0.5 where there is only one.

    Integers, booleans and strings are answers themselves. A row with NaN says -1.
    """
    if output.dtype.kind != "f":
        return output
    rows = output.reshape(1, -1) if output.ndim == 0 else output
    if rows.shape[-1] == 0:
        return np.zeros(rows.shape[:-1], np.int64)
    said = np.argmax(rows, axis=-1) if rows.shape[-1] > 1 else (rows[..., 0] > 0.5).astype(np.int64)
    return np.where(np.isnan(rows).any(axis=-1), _NO_ANSWER, said)


def is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two top-1 answers agree in every row."""
    return one.shape == other.shape and bool(np.array_equal(one, other))


class Sampler:
    """An input is sampled or not as a whole within an hour, by a hash that nobody outside can predict."""

    def __init__(
        self, ratio: float, salt: bytes | None = None, hour: Callable[[], int] = this_hour, limit: int = DISTINCT_LIMIT
    ) -> None:
        """Sample `ratio` of all distinct inputs; remember at most `limit` of those compared in the hour."""
        self._ratio = ratio
        self._salt = os.urandom(16) if salt is None else salt
        self._hour = hour
        self._limit = limit
        self._seen_hour = hour()
        self._seen: set[tuple[str, bytes]] = set()

    def pick(self, inputs: Tensors) -> bytes | None:
        """The input's hash in this hour if it is sampled."""
        if self._ratio <= 0:
            return None
        key = _hash(inputs, self._salt + self._hour().to_bytes(8, "little"))
        return key if int.from_bytes(key[:8], "little") < self._ratio * _HASH_RANGE else None

    def is_new(self, twin: str, key: bytes) -> bool:
        """Whether this input is compared with that twin for the first time in this hour, and remember it.

        When the memory is full nothing is new: proof must be earned by inputs that are known to be distinct.
        """
        if self._seen_hour != self._hour():
            self._seen_hour = self._hour()
            self._seen.clear()
        if (twin, key) in self._seen or len(self._seen) >= self._limit:
            return False
        self._seen.add((twin, key))
        return True


def _hash(inputs: Tensors, salt: bytes) -> bytes:
    digest = hashlib.blake2b(key=salt, digest_size=16)
    for name, array in inputs.items():
        digest.update(f"{name}\0{array.dtype.str}{array.shape}\0".encode())
        if array.dtype.kind == "O":
            for item in array.ravel().tolist():
                text = str(item).encode()
                digest.update(len(text).to_bytes(8, "little") + text)
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
