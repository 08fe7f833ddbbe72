"""Which answers are compared."""

import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.tensors import Tensors

DISTINCT_LIMIT: Final = 100_000
HOUR_SECONDS: Final = 3600
PAGE_BYTES: Final = 4096
FOLDED_BYTES: Final = 2 * PAGE_BYTES
Array = NDArray[Any]


class Sampler:
    """An input is sampled or not as a whole within an hour, by a hash that nobody outside can predict."""

    def __init__(
        self,
        ratio: float,
        salt: bytes | None = None,
        clock: Callable[[], float] = time.time,
        limit: int = DISTINCT_LIMIT,
    ) -> None:
        """Sample `ratio` of all distinct inputs; remember at most `limit` of those compared in the hour."""
        self._below = (ratio - 0.5) * 2**64  # hashes lie around zero
        self._salt = os.urandom(16) if salt is None else salt
        self._salt_now = b""  # in this hour
        self._clock = clock
        self._hour = -1.0
        self._limit = limit
        self._seen: set[tuple[str, int]] = set()

    def key(self, inputs: Tensors) -> int:
        """The input's hash in this hour."""
        return self._hash(inputs, _whole)

    def pick(self, inputs: Tensors) -> int | None:
        """The input's hash in this hour if it is sampled. Every user's request pays for this."""
        drawn = self._hash(inputs, _folded)
        if drawn >= self._below:
            return None
        is_folded = any(each.nbytes >= FOLDED_BYTES for each in inputs.values())
        return self.key(inputs) if is_folded else drawn

    def is_new(self, twin: str, key: int) -> bool:
        """Whether this input is compared with that twin for the first time in this hour, and remember it.

        When the memory is full nothing is new: proof must be earned by inputs that are known to be distinct.
        """
        self._see_hour()
        if (twin, key) in self._seen or len(self._seen) >= self._limit:
            return False
        self._seen.add((twin, key))
        return True

    def _hash(self, inputs: Tensors, content: Callable[[Array], bytes]) -> int:
        """The interpreter's own SipHash, the fastest at hand: its 64 bits are enough to tell inputs apart.

        Its key is drawn at start, and the salt makes the hash another one in every hour and every process.
        """
        self._see_hour()
        salt = self._salt_now
        parts = [(name, each.dtype.char, each.shape, salt + content(each)) for name, each in inputs.items()]
        return hash(tuple(parts))

    def _see_hour(self) -> None:
        hour = self._clock() // HOUR_SECONDS
        if hour != self._hour:
            self._hour = hour
            self._salt_now = self._salt + int(hour).to_bytes(8, "little")
            self._seen.clear()


def _whole(array: Array) -> bytes:
    return repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()


def _folded(array: Array) -> bytes:
    """All of a small tensor; of a large one the sum of its pages.

    Tensors that are made of the same pages in another order are drawn together, nothing else.
    """
    if array.nbytes < FOLDED_BYTES or array.dtype.kind == "O":
        return _whole(array)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    end = array.nbytes // PAGE_BYTES * PAGE_BYTES
    # By four bytes: to eight, tensors are seldom aligned where they lie.
    pages = flat[:end].view(np.uint32).reshape(-1, PAGE_BYTES // 4)
    return bytes(np.add.reduce(pages, axis=0, dtype=np.uint32).tobytes() + flat[end:].tobytes())
