"""Bodies within limits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quanary.server import asgi
from quanary.server.asgi import Bodies, ClientGone, Refused


def receiving(*parts: bytes, is_cut: bool = False) -> Callable[[], Awaitable[dict[str, Any]]]:
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if is_cut:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return receive


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


async def test_parts_make_a_body() -> None:
    with Bodies().hold() as body:
        assert await body.read(scope(content_length="4"), receiving(b"ab", b"cd")) == b"abcd"


@pytest.mark.parametrize("headers", [{"content_length": "5"}, {}, {"content_length": "1"}])
async def test_a_body_is_measured_whatever_it_declares(headers: dict[str, str]) -> None:
    with Bodies(limit_bytes=4).hold() as body, pytest.raises(Refused) as refused:
        await body.read(scope(**headers), receiving(b"abc", b"de"))
    assert refused.value.answer.status == 413
    assert asgi.CLOSE in refused.value.answer.headers


async def test_all_bodies_together_are_bounded_and_freed() -> None:
    bodies = Bodies(limit_bytes=4, total_bytes=6)
    with bodies.hold() as one, bodies.hold() as two:
        await one.read(scope(), receiving(b"abcd"))
        with pytest.raises(Refused) as refused:
            await two.read(scope(), receiving(b"abcd"))
        assert refused.value.answer.status == 503
    with bodies.hold() as three:
        assert await three.read(scope(), receiving(b"abcd")) == b"abcd"


async def test_a_client_that_leaves_gets_no_answer() -> None:
    with Bodies().hold() as body, pytest.raises(ClientGone):
        await body.read(scope(), receiving(b"ab", is_cut=True))


async def test_a_body_that_never_ends_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.05)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    with Bodies().hold() as body, pytest.raises(Refused) as refused:
        await body.read(scope(), receive)
    assert refused.value.answer.status == 408
