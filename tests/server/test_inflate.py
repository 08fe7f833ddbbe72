"""Compressed bodies, piece by piece."""

import gzip
import random
import zlib

import pytest

from quanary.server.inflate import PIECE_BYTES, RATIO_LIMIT, Corrupt, Inflating

NOISE = random.Random(1).randbytes(3 * PIECE_BYTES)


@pytest.mark.parametrize(("encoding", "packed"), [(b"gzip", gzip.compress(NOISE)), (b"deflate", zlib.compress(NOISE))])
@pytest.mark.parametrize("step", [1000, len(NOISE) * 2])
def test_pieces_make_the_whole_and_are_small(encoding: bytes, packed: bytes, step: int) -> None:
    inflating = Inflating(encoding)
    pieces = [
        piece for start in range(0, len(packed), step) for piece in inflating.pieces(packed[start : start + step])
    ]
    inflating.end()
    assert b"".join(pieces) == NOISE
    assert max(len(piece) for piece in pieces) <= PIECE_BYTES


def test_little_may_become_much_and_much_may_not() -> None:
    inflating = Inflating(b"gzip")
    assert sum(len(each) for each in inflating.pieces(gzip.compress(bytes(PIECE_BYTES)))) == PIECE_BYTES
    pieces: list[int] = []
    bomb = Inflating(b"gzip").pieces(gzip.compress(bytes(64 * PIECE_BYTES)))
    with pytest.raises(Corrupt, match=f"more than {RATIO_LIMIT} times"):
        pieces.extend(len(each) for each in bomb)
    assert sum(pieces) < 8 * PIECE_BYTES


def unpacked(packed: bytes) -> bytes:
    inflating = Inflating(b"gzip")
    whole = b"".join(inflating.pieces(packed))
    inflating.end()
    return whole


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"no gzip at all", "incorrect header"),
        (gzip.compress(b"abc")[:-1], "too early"),
        (gzip.compress(b"abc") + b"d", "follow its end"),
        (b"", "too early"),
    ],
)
def test_what_is_broken_is_refused(packed: bytes, words: str) -> None:
    with pytest.raises(Corrupt, match=words):
        unpacked(packed)
