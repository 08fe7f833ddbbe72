"""A share of requests that may be treated specially, over the last minute."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 60
# Beyond the share: at little traffic a share of it would be less than one.
BURST: Final = 3


@dataclass
class _Second:
    at: int
    requests: int = 0
    spent: int = 0


class Budget:
    """In no minute is more spent than `share` of its requests and a `burst`."""

    def __init__(self, share: float, clock: Callable[[], float], burst: float = BURST) -> None:
        """Nothing asked for yet; `clock` counts seconds and never goes back."""
        self._share = share
        self._clock = clock
        self._burst = burst
        self._seconds: deque[_Second] = deque()
        self._requests = 0
        self._spent = 0

    def count_request(self) -> None:
        """One of those that the share is of."""
        self._now().requests += 1
        self._requests += 1

    def spend(self) -> bool:
        """Whether one more may be spent; then it is."""
        now = self._now()
        if self._spent + 1 > self._share * self._requests + self._burst:
            return False
        now.spent += 1
        self._spent += 1
        return True

    def _now(self) -> _Second:
        at = int(self._clock())
        while self._seconds and self._seconds[0].at <= at - WINDOW_SECONDS:
            old = self._seconds.popleft()
            self._requests -= old.requests
            self._spent -= old.spent
        if not self._seconds or self._seconds[-1].at != at:
            self._seconds.append(_Second(at))
        return self._seconds[-1]
