"""Lines for a person who watches: when, which story, what."""

import threading
import time
from typing import Final

from rich.console import Console
from rich.text import Text

from e2e.demo.watch import StageSeen

COLOURS: Final = {
    "Promoted": "bold green",
    "RolledBack": "bold red",
    "Rejected": "bold red",
    "Held": "yellow",
    "Stalled": "bold red",
    "Canary": "cyan",
}
WIDTH: Final = 26


class Narrator:
    """One voice for many threads."""

    def __init__(self, console: Console | None = None) -> None:
        """Time runs from now."""
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._turn = threading.Lock()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, who: str, what: str, style: str = "") -> None:
        """One line."""
        with self._turn:
            self._console.print(
                Text.assemble((f"{self.seconds:6.1f} s  ", "dim"), (f"{who:<{WIDTH}}", "bold"), (what, style))
            )

    def quote(self, who: str, command: str, lines: list[str]) -> None:
        """What a user would see of a command."""
        with self._turn:
            self._console.print(
                Text.assemble((f"{self.seconds:6.1f} s  ", "dim"), (f"{who:<{WIDTH}}", "bold"), f"$ {command}")
            )
            for line in lines:
                self._console.print(Text(f"           {line}", "dim"))

    def tell_stage(self, seen: StageSeen) -> None:
        """A change of stage or weight."""
        text = f"{seen.stage:<13}{seen.weight:>5}  {seen.because}"
        self.say(seen.model, text, COLOURS.get(seen.stage, ""))
