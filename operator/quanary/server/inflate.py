"""Compressed bodies, unpacked piece by piece within limits."""

import zlib
from collections.abc import Iterator
from typing import Final

# Clients mean zlib's own format by `deflate`, as the standard says.
_WINDOW_BITS: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
ENCODINGS: Final = tuple(_WINDOW_BITS)
PIECE_BYTES: Final = 2**20
# What little data becomes is bounded all the same; of more, no honest tensor shrinks to less than a hundredth.
RATIO_LIMIT: Final = 100


class Corrupt(ValueError):  # noqa: N818
    """The bytes are not what their encoding says."""


class Inflating:
    """One body in one encoding."""

    def __init__(self, encoding: bytes) -> None:
        """Nothing has come in."""
        self._stream = zlib.decompressobj(_WINDOW_BITS[encoding])
        self._came_in = 0
        self._went_out = 0

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """What `part` becomes, at most `PIECE_BYTES` at a time.

        Raises:
            Corrupt: it is broken, or goes on after its end, or is a bomb.
        """
        self._came_in += len(part)
        while part:
            try:
                piece = self._stream.decompress(part, PIECE_BYTES)
            except zlib.error as error:
                raise Corrupt(str(error)) from None
            self._went_out += len(piece)
            if self._went_out > max(PIECE_BYTES, RATIO_LIMIT * self._came_in):
                message = f"found more than {RATIO_LIMIT} times its bytes in it; allowed: at most so many"
                raise Corrupt(message)
            if self._stream.unused_data:
                raise Corrupt("bytes follow its end")
            yield piece
            part = self._stream.unconsumed_tail

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            Corrupt: something is missing.
        """
        if not self._stream.eof:
            raise Corrupt("it ends too early")
