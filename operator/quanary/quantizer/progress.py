"""A line a step on stderr, plain enough for `kubectl logs`."""

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

T = TypeVar("T")

NOTE_EVERY_SECONDS: Final = 10.0


@dataclass
class Progress:
    """Counts the steps of one run and the time it has taken."""

    total: int
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def step(self, text: str) -> None:
        """Begin the next step."""
        self.done += 1
        print(
            f"[{self.done}/{self.total}] {time.monotonic() - self.started:6.1f}s  {text}", file=sys.stderr, flush=True
        )

    def watch(self, items: Iterable[T], total: int) -> Iterator[T]:
        """The items, unchanged; now and then a line on how many of `total` have passed."""
        said = time.monotonic()
        for count, item in enumerate(items):
            if time.monotonic() - said > NOTE_EVERY_SECONDS:
                said = time.monotonic()
                self.note(f"{count} of {total}")
            yield item

    def note(self, text: str) -> None:
        """Say something about the step under way."""
        print(f"{'':>15}{text}", file=sys.stderr, flush=True)
