"""What is known of the twin: whether it is there, whether it has capacity, and which model it serves now."""

import random
import re
import time
from collections.abc import Callable
from typing import Final

# A kept-alive connection survives a change of the twin Service's selector: none is older than this, nor is what was
# learned over it.
CONNECTION_SECONDS: Final = 10.0
ABSENT_SECONDS: Final = 1.0
BUSY_SECONDS: Final = 0.1  # after the first refusal, doubled by each further one
BUSY_LIMIT_SECONDS: Final = 5.0


_SHORT_DIGEST: Final = re.compile(r"[0-9a-f]{10}")
_HOPS: Final = re.compile(rb"[0-9]{1,3}")


def is_digest(text: str) -> bool:
    """Whether it may become a label: nothing but a short digest may."""
    return bool(_SHORT_DIGEST.fullmatch(text))


def origin_of(asker: bytes | None, hops: bytes | None) -> tuple[str, int]:
    """Who asked a twin's question first and how many servers asked, from its headers; nobody where they say neither."""
    if asker is None or hops is None or not _HOPS.fullmatch(hops) or not is_digest(text := asker.decode("latin-1")):
        return "", 0
    return text, int(hops)


class Twin:
    """One twin as its answers show it. Times are of a monotonic clock."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        """Nothing is known yet; `jitter` draws from 0 to 1."""
        self._clock = clock
        self._jitter = jitter
        self._absent_until = 0.0
        self._busy_until = 0.0
        self._refusals = 0
        self._known_until = 0.0
        self.last_digest = ""

    @property
    def is_absent(self) -> bool:
        """Whether nobody listened there just now: neither an error nor a loss."""
        return self._clock() < self._absent_until

    @property
    def is_busy(self) -> bool:
        """Whether it asked to be left alone."""
        return self._clock() < self._busy_until

    @property
    def digest(self) -> str:
        """The model it serves now; empty if that is not known."""
        return self.last_digest if self._clock() < self._known_until else ""

    def refused_connection(self) -> None:
        """Nobody listens there."""
        self._absent_until = self._clock() + ABSENT_SECONDS

    def refused_question(self) -> None:
        """It has no capacity: users come first, so it is asked again later, and later still each time."""
        seconds = min(BUSY_SECONDS * 2**self._refusals, BUSY_LIMIT_SECONDS)
        self._refusals = min(self._refusals + 1, 10)
        # At half the time at least, so that not all askers come back at once.
        self._busy_until = self._clock() + seconds * (0.5 + 0.5 * self._jitter())

    def took_question(self) -> None:
        """It answered, whatever it said."""
        self._refusals = 0

    def learn(self, digest: str, opened_at: float) -> None:
        """It said its model's digest over a connection that was opened then."""
        self.last_digest = digest
        self._known_until = opened_at + CONNECTION_SECONDS
