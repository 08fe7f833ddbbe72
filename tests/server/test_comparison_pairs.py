"""Answers that wait for their twin's are bounded in what they really hold."""

import asyncio

import numpy as np

from quanary.server.comparison.pairs import QUESTIONS_LIMIT_BYTES, Pair, Question, Waiting


def question(text: str) -> Question:
    pair = Pair(0, np.zeros((1, 2), np.float32), None, 0.1)
    return Question({"text": np.array([[text]], np.object_)}, pair, asker="", hops=1)


def test_texts_count_with_their_characters() -> None:
    waiting = Waiting()
    assert waiting.offer(question("a"))
    assert not waiting.offer(question("a" * QUESTIONS_LIMIT_BYTES))


async def test_what_was_taken_makes_room() -> None:
    waiting, large = Waiting(), question("a" * (QUESTIONS_LIMIT_BYTES - 1000))
    assert waiting.offer(large)
    assert not waiting.offer(large)
    await waiting.take()
    assert waiting.offer(large)


async def test_each_that_waits_for_a_question_gets_one_the_last_comer_first() -> None:
    waiting = Waiting()
    takers = [asyncio.create_task(waiting.take()) for _ in range(3)]
    await asyncio.sleep(0)
    takers[2].cancel()
    await asyncio.sleep(0)
    for text in ("a", "b"):
        assert waiting.offer(question(text))
    first, second = await asyncio.gather(takers[1], takers[0])
    assert (first.inputs["text"][0, 0], second.inputs["text"][0, 0]) == ("a", "b")
