"""What is known of a twin, by the clock."""

import pytest

from quanary.server.comparison import origin_of
from quanary.server.comparison.twin import ABSENT_SECONDS, BUSY_LIMIT_SECONDS, BUSY_SECONDS, CONNECTION_SECONDS, Twin


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def busy_seconds(twin: Twin, clock: Clock) -> float:
    twin.refused_question()
    begun, step = clock.now, 0.01
    while twin.is_busy:
        clock.now += step
    return clock.now - begun


def test_each_refusal_in_a_row_doubles_the_pause_up_to_a_limit_and_an_answer_ends_that() -> None:
    clock = Clock()
    twin = Twin(clock, jitter=lambda: 1.0)
    pauses = [busy_seconds(twin, clock) for _ in range(12)]
    expected = [min(BUSY_SECONDS * 2**i, BUSY_LIMIT_SECONDS) for i in range(12)]
    assert pauses == pytest.approx(expected, abs=0.03)
    twin.took_question()
    assert busy_seconds(twin, clock) == pytest.approx(BUSY_SECONDS, abs=0.03)


def test_pauses_are_drawn_from_half_to_whole() -> None:
    clock = Clock()
    assert busy_seconds(Twin(clock, jitter=lambda: 0.0), clock) == pytest.approx(BUSY_SECONDS / 2, abs=0.02)


def test_absence_passes() -> None:
    clock = Clock()
    twin = Twin(clock)
    twin.refused_connection()
    assert twin.is_absent
    clock.now += ABSENT_SECONDS
    assert not twin.is_absent


def test_a_digest_is_known_no_longer_than_its_connection_may_live() -> None:
    clock = Clock()
    twin = Twin(clock)
    assert twin.digest == ""
    twin.learn("0123456789", opened_at=clock.now - 4)
    clock.now += CONNECTION_SECONDS - 4.1
    assert twin.digest == "0123456789"
    clock.now += 0.2
    assert (twin.digest, twin.last_digest) == ("", "0123456789")


@pytest.mark.parametrize(
    ("asker", "hops", "expected"),
    [
        (b"0123456789", b"1", ("0123456789", 1)),
        (b"0123456789", b"2", ("0123456789", 2)),
        (b"0123456789", b"999", ("0123456789", 999)),
        (b"0123456789", b"9999", ("", 0)),
        (b"0123456789", b"-1", ("", 0)),
        (b"0123456789", b"", ("", 0)),
        (b"0123456789", None, ("", 0)),
        (None, b"1", ("", 0)),
        (b"012345678\xff", b"1", ("", 0)),
        (b'0"} 1', b"1", ("", 0)),
    ],
)
def test_an_origin_is_a_digest_and_a_count_or_nothing(
    asker: bytes | None, hops: bytes | None, expected: tuple[str, int]
) -> None:
    assert origin_of(asker, hops) == expected
