"""What a run is doing: a live bar on a terminal, else a line a step on stderr, plain enough for `kubectl logs`."""

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
    live: bool = field(default_factory=sys.stderr.isatty)

    def step(self, text: str) -> None:
        """Begin the next step."""
        self.done += 1
        self._line(f"[{self.done}/{self.total}] {time.monotonic() - self.started:6.1f}s  {text}")

    def skip(self) -> None:
        """Leave a step out: the last one is the last of all the same."""
        self.done += 1

    def note(self, text: str) -> None:
        """Say something about the step under way."""
        self._line(f"{'':>15}{text}")

    def watch(self, items: Iterable[T], total: int, what: str = "samples") -> Iterator[T]:
        """The items, unchanged, while a bar, or now and then a line, says how many of `total` have passed."""
        yield from self._bar(items, total, what) if self.live else self._lines(items, total, what)

    def _lines(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        said = time.monotonic()
        for count, item in enumerate(items):
            if time.monotonic() - said > NOTE_EVERY_SECONDS:
                said = time.monotonic()
                self.note(f"{count} of {total} {what}")
            yield item

    def _bar(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        # Of no use without a terminal, and long to import.
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
            yield from bars.track(items, total=total, description=f"{'':>13}{what}")

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
