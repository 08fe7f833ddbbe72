"""Which answers are compared."""

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.server.tensors import Tensors

DISTINCT_LIMIT: Final = 100_000
PAGE_BYTES: Final = 4096
Array = NDArray[Any]
_HASH_RANGE: Final = 2**64


def this_hour() -> int:
    """Hours since the epoch."""
    return int(time.time() // 3600)


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

    def key(self, inputs: Tensors) -> bytes:
        """The input's hash in this hour."""
        return _hash(inputs, self._salt_now(b"key"), _whole)

    def _salt_now(self, purpose: bytes) -> bytes:
        return self._salt + self._hour().to_bytes(8, "little") + purpose

    def pick(self, inputs: Tensors) -> bytes | None:
        """The input's hash in this hour if it is sampled."""
        if self._ratio <= 0:
            return None
        drawn = _hash(inputs, self._salt_now(b"draw"), _folded)
        return self.key(inputs) if int.from_bytes(drawn[:8], "little") < self._ratio * _HASH_RANGE else None

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


def _hash(inputs: Tensors, salt: bytes, content: Callable[[Array], bytes]) -> bytes:
    """Tensors go through the interpreter's own SipHash, 4 times as fast as blake2b.

    Its 64 bits under a key drawn at start are enough to tell inputs apart; what is drawn from them is keyed again.
    """
    digest = hashlib.blake2b(key=salt, digest_size=16)
    for name, array in inputs.items():
        digest.update(f"{name}\0{array.dtype.str}{array.shape}{hash(content(array))}\0".encode())
    return digest.digest()


def _whole(array: Array) -> bytes:
    return repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes()


def _folded(array: Array) -> bytes:
    """All of a small tensor; of a large one the sum of its pages, for every user's request pays for this.

    Tensors that are made of the same pages in another order are drawn together, nothing else.
    """
    pages = array.nbytes // PAGE_BYTES
    if pages < 2 or array.dtype.kind == "O" or not array.flags.c_contiguous:
        return _whole(array)
    flat = array.reshape(-1).view(np.uint8)
    end = pages * PAGE_BYTES
    sums = flat[:end].view(np.uint64).reshape(pages, -1).sum(axis=0)
    return bytes(sums.tobytes() + flat[end:].tobytes())
