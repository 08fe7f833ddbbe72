import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from quanary.controller import health
from quanary.controller.health import Heart, at_most, serve_health


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_it_says_what_is_wrong_and_readiness_includes_liveness() -> None:
    live, ready = "", "nothing was listed yet"
    with serve_health(0, {"loop": lambda: live}, {"list": lambda: ready}, "127.0.0.1") as port:
        assert get(port, "/healthz") == (200, "ok")
        assert get(port, "/readyz") == (503, "list: nothing was listed yet")
        live, ready = "stuck", ""
        assert get(port, "/healthz") == (503, "loop: stuck")
        assert get(port, "/readyz") == (503, "loop: stuck")
        assert get(port, "/elsewhere")[0] == 404


async def test_a_hung_loop_is_noticed_while_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(health, "LONGEST_LAG_SECONDS", 0.5)
    heart = Heart()
    beating = asyncio.create_task(heart.beat())
    with serve_health(0, {"loop": heart.check}, {}, "127.0.0.1") as port:
        assert await asyncio.to_thread(_poll, lambda: get(port, "/healthz")[0], 200) == 200
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(_poll(lambda: get(port, "/healthz")[0], 503)))
        asking.start()
        asking.join()  # the loop hangs until its hang was seen
        assert found == [503]
        assert await asyncio.to_thread(_poll, lambda: get(port, "/healthz")[0], 200) == 200
    beating.cancel()


def _poll(ask: Callable[[], int], code: int) -> int:
    deadline = time.monotonic() + 20
    while (found := ask()) != code and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_a_limit_names_value_and_limit() -> None:
    seconds = 10.0
    check = at_most("a reconcile has run for", lambda: seconds, 20)
    assert check() == ""
    seconds = 21.0
    assert check() == "a reconcile has run for: 21 s; allowed: 20 s"
