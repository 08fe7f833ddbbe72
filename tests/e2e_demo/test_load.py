"""Arrivals follow the timetable, and every answer is counted as what it is."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from aiohttp import web

from e2e.demo.kube import wait_for
from e2e.demo.load import Answer, Load, questions, shares, tally, timetable, with_critical, wrong
from e2e.demo.messages import request, top1
from quanary.wire.inference import DIGEST_HEADER, HEADER_LENGTH

FLOAT, INT8 = "f" * 10, "1" * 10
TWO = questions({"bytes": np.arange(4, dtype=np.int32).reshape(2, 1, 2)})


def answer(question: int, top1: int, digest: str, status: int = 200) -> Answer:
    return Answer("m", 0.0, 0.1, status, question, digest, top1)


def body_of(scores: list[float]) -> tuple[bytes, dict[str, str]]:
    blob = np.array(scores, "<f4").tobytes()
    output = {"name": "y", "datatype": "FP32", "shape": [1, len(scores)], "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    return head + blob, {HEADER_LENGTH: str(len(head)), DIGEST_HEADER: FLOAT}


@contextmanager
def serving(handler: object) -> Iterator[str]:
    """A web server on a port of its own, in a thread of its own; its address."""
    loop, address = asyncio.new_event_loop(), []
    ready = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v2/models/{name}/infer", handler)  # type: ignore[arg-type]
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append("{}:{}".format(*runner.addresses[0]))
        ready.set()
        return runner

    def work() -> None:
        runner = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_timetable_is_even_and_bounded() -> None:
    assert list(timetable(100.0, 4.0, 3)) == [100.0, 100.25, 100.5]


def test_shares_are_exact_over_a_round_and_spread_within_it() -> None:
    drawn = list(islice(shares({"a": 3.0, "b": 1.0}), 400))
    assert Counter(drawn) == {"a": 300, "b": 100}
    assert all("b" in drawn[start : start + 4] for start in range(0, 400, 4))


def test_injected_errors_are_not_failures() -> None:
    good, failed = answer(0, 1, FLOAT), replace(answer(1, -1, INT8, 500), error="inference failed")
    injected = replace(failed, is_injected=True)
    nothing = replace(answer(2, -1, "", 0), error="TimeoutError: ")
    counts = tally([good, failed, injected, nothing])
    assert (counts.sent, counts.failed, counts.injected) == (4, 2, 1)
    assert counts.by_digest == {FLOAT: 1, INT8: 2, "": 1}
    assert counts.failures == ("m: 500 inference failed", "m: no answer TimeoutError: ")


def test_wrong_is_what_float_answers_otherwise_before_or_after() -> None:
    found = [answer(0, 5, INT8), answer(0, 6, FLOAT), answer(1, 7, FLOAT), answer(1, 7, INT8), answer(2, 9, INT8)]
    assert wrong([*found, answer(1, -1, INT8, 500)], FLOAT) == [found[0]]


def test_an_answer_known_beforehand_needs_no_float_answer() -> None:
    (known,) = questions({"x": np.zeros((1, 1, 2), np.float32), "answer": np.array([1])})
    assert known.right == 1
    assert b"answer" not in known.body
    found = [replace(answer(0, 0, INT8), right=known.right), replace(answer(1, 1, INT8), right=1)]
    assert wrong(found, FLOAT) == [found[0]]


def test_top1_is_the_largest_class_or_the_side_of_a_half() -> None:
    for scores, expected in (([0.1, 0.7, 0.2], 1), ([0.4], 0), ([0.6], 1)):
        body, headers = body_of(scores)
        assert top1(body, headers[HEADER_LENGTH]) == expected
    with pytest.raises(ValueError, match="without"):
        top1(b"{}", None)


def test_request_is_json_then_the_tensors() -> None:
    body, headers = request({"x": np.array([[1, 2]], np.int32), "h": np.zeros((1, 1, 2), np.float32)})
    length = int(headers[HEADER_LENGTH])
    head = json.loads(body[:length])
    assert [(each["name"], each["datatype"], each["shape"]) for each in head["inputs"]] == [
        ("x", "INT32", [1, 2]),
        ("h", "FP32", [1, 1, 2]),
    ]
    assert body[length:] == np.array([1, 2], "<i4").tobytes() + bytes(8)


def test_load_asks_each_model_its_share_and_counts_what_comes_back() -> None:
    async def handler(asked: web.Request) -> web.Response:
        await asked.read()
        if asked.match_info["name"] == "broken":
            return web.json_response({"error": "inference failed: injected"}, status=500)
        body, headers = body_of([0.1, 0.9])
        return web.Response(body=body, headers=headers)

    with serving(handler) as address, Load(address, rate=200, limit=10_000, seconds=60) as load:
        load.aim("fine", 100, TWO)
        load.aim("broken", 50, TWO)
        wait_for("answers", lambda: len(load.answers("broken")) >= 10, 30, every=0.01)
        load.aim("fine", 0)
        wait_for("nothing under way", lambda: not load.under_way("fine"), 30, every=0.01)
        fine = load.answers("fine")
        load.stop()
    assert len(fine) >= 15
    assert {(each.status, each.digest, each.top1) for each in fine} == {(200, FLOAT, 1)}
    assert {each.question for each in fine} == {0, 1}
    assert all(each.is_injected for each in load.answers("broken"))
    assert tally(load.answers()).failed == 0
    assert len(load.answers("fine")) == len(fine)


def test_load_that_nobody_answers_is_a_failure() -> None:
    with Load("127.0.0.1:1", rate=100, limit=5, seconds=10) as load:
        load.aim("m", 100, TWO)
        wait_for("end of the load", lambda: not load.is_running, 30, every=0.01)
    counts = tally(load.answers())
    assert counts.failed == counts.sent > 0
    assert "ClientConnectorError" in counts.failures[0]


def test_load_refuses_more_than_its_timetable_has() -> None:
    load = Load("127.0.0.1:1", rate=10, limit=1, seconds=1)
    load.aim("a", 7, TWO)
    with pytest.raises(ValueError, match=r"b: found 4 requests a second; allowed: 3"):
        load.aim("b", 4, TWO)


def test_every_question_is_asked_again_as_critical_by_header_or_path() -> None:
    asked = with_critical(TWO, ("x-critical", "true"), "/critical")
    assert [(each.number, each.mark, each.prefix) for each in asked] == [
        (0, "", ""),
        (0, "header", ""),
        (1, "", ""),
        (1, "path", "/critical"),
    ]
    assert asked[1].headers["x-critical"] == "true"
    assert not any("x-critical" in asked[number].headers for number in (0, 2, 3))
