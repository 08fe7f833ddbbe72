"""Bodies within limits."""

import asyncio

import pytest
from typing_extensions import override

from quanary.server import bodies
from quanary.server.bodies import Bodies, ClientGone
from quanary.server.data_plane import CLOSE, Refused


class Sent:
    """A request in parts."""

    def __init__(self, *parts: bytes, is_cut: bool = False, headers: dict[bytes, bytes] | None = None) -> None:
        self.headers = headers or {}
        self.parts = list(parts)
        self.is_cut = is_cut

    def take_whole(self) -> bytes | None:
        return None

    async def take_part(self) -> tuple[bytes, bool]:
        if not self.parts:
            raise ClientGone
        return self.parts.pop(0), bool(self.parts) or self.is_cut


class Whole(Sent):
    """All of it is there."""

    @override
    def take_whole(self) -> bytes | None:
        return b"".join(self.parts)


class Endless(Sent):
    """Its next part never comes."""

    @override
    async def take_part(self) -> tuple[bytes, bool]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_parts_make_a_body() -> None:
    with Bodies().hold() as body:
        assert await body.read(Sent(b"ab", b"cd", headers={b"content-length": b"4"})) == b"abcd"


@pytest.mark.parametrize(
    "headers", [{b"content-length": b"5"}, {}, {b"content-length": b"1"}, {b"content-length": b"0" * 5000 + b"5"}]
)
async def test_a_body_is_measured_whatever_it_declares(headers: dict[bytes, bytes]) -> None:
    with Bodies(limit_bytes=4).hold() as body, pytest.raises(Refused) as refused:
        await body.read(Sent(b"abc", b"de", headers=headers))
    assert refused.value.answer.status == 413
    assert CLOSE in refused.value.answer.headers


async def test_all_bodies_together_are_bounded_and_freed() -> None:
    limited = Bodies(limit_bytes=4, total_bytes=6)
    with limited.hold() as one, limited.hold() as two:
        await one.read(Sent(b"abcd"))
        with pytest.raises(Refused) as refused:
            await two.read(Sent(b"abcd"))
        assert refused.value.answer.status == 503
    with limited.hold() as three:
        assert await three.read(Sent(b"abcd")) == b"abcd"


async def test_a_client_that_leaves_gets_no_answer() -> None:
    with Bodies().hold() as body, pytest.raises(ClientGone):
        await body.read(Sent(b"ab", is_cut=True))


async def test_a_body_that_never_ends_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    with Bodies().hold() as body, pytest.raises(Refused) as refused:
        await body.read(Endless())
    assert refused.value.answer.status == 408


def test_a_body_that_is_there_is_taken_at_once_and_held() -> None:
    limited = Bodies(limit_bytes=4, total_bytes=6)
    assert limited.take_whole(Whole(b"abcd")) == b"abcd"
    with pytest.raises(Refused) as refused:
        limited.take_whole(Whole(b"abcd"))
    assert refused.value.answer.status == 503
    limited.release(4)
    assert limited.take_whole(Whole(b"abcd")) == b"abcd"


@pytest.mark.parametrize("request_", [Sent(b"ab"), Whole(b"ab", headers={b"content-encoding": b"gzip"})])
def test_what_is_packed_or_not_there_is_not(request_: Sent) -> None:
    assert Bodies().take_whole(request_) is None
