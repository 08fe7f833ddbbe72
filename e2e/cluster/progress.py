"""Numbered steps with their time: `[ 3/14] kube-apiserver … 2.1 s`."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

TICK_SECONDS = 0.5
REMINDER_SECONDS = 30.0


class Steps:
    """Shows which step of how many is under way: ticking on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, out: TextIO = sys.stderr) -> None:
        self.total = total
        self.current = 0
        self.out = out
        self.live = out.isatty()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.current += 1
        label = f"[{self.current:>2}/{self.total}] {title} …"
        began = time.monotonic()
        over = threading.Event()
        clock = threading.Thread(target=self._tick, args=(label, began, over), daemon=True)
        clock.start()
        outcome = "failed after "
        try:
            yield
            outcome = ""
        finally:
            over.set()
            clock.join()
            self._show(f"{label} {outcome}{time.monotonic() - began:.1f} s", end="\n")

    def _tick(self, label: str, began: float, over: threading.Event) -> None:
        if self.live:
            self._show(label)
        while not over.wait(TICK_SECONDS if self.live else REMINDER_SECONDS):
            self._show(f"{label} {time.monotonic() - began:.0f} s", end="" if self.live else " so far\n")

    def _show(self, text: str, end: str = "") -> None:
        self.out.write(("\r\x1b[K" if self.live else "") + text + end)
        self.out.flush()
