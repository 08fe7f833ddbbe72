"""Answers that wait for their twin's are bounded in what they really hold."""

import numpy as np

from quanary.server.comparison.pairs import PAIRS_LIMIT_BYTES, Pair, Waiting


def pair(text: str) -> Pair:
    texts = np.array([[text]], np.object_)
    return Pair(b"", {"text": texts}, np.zeros((1, 2), np.float32), None, 0.1, asker="", hops=1)


def test_texts_count_with_their_characters() -> None:
    waiting = Waiting()
    assert waiting.offer(pair("a"))
    assert not waiting.offer(pair("a" * PAIRS_LIMIT_BYTES))


async def test_what_was_taken_makes_room() -> None:
    waiting, large = Waiting(), pair("a" * (PAIRS_LIMIT_BYTES - 1000))
    assert waiting.offer(large)
    assert not waiting.offer(large)
    await waiting.take()
    assert waiting.offer(large)
