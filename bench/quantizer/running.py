"""A program as it runs: wall and CPU seconds of it and all that it started, at marks in what it says and at its end.

CPU seconds are what is compared: both sides compute on one thread, and a busy machine changes them little.
"""

import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

END: Final = "end"
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """Since a process began."""

    wall: float
    cpu: float

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True)
class Run:
    """What was spent until each mark that was met and until the end; what it said and printed; how it ended."""

    spent: Mapping[str, Spent]
    said: str
    printed: str
    code: int


def run(command: Sequence[Any], marks: Mapping[str, re.Pattern[str]], limit: float, cwd: Path | None = None) -> Run:
    """Run it to its end, or kill it after `limit` seconds, reading its standard error line by line."""
    started = time.monotonic()
    spent, said = {}, []
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen([str(each) for each in command], stderr=subprocess.PIPE, stdout=printed, cwd=cwd)
        stopper = threading.Timer(limit, process.kill)
        stopper.start()
        assert process.stderr
        with process.stderr:
            for line in process.stderr:
                said.append(line.decode(errors="replace"))
                for name in [each for each, mark in marks.items() if each not in spent and mark.search(said[-1])]:
                    spent[name] = Spent(time.monotonic() - started, _cpu_of_tree(process.pid))
        _, status, usage = os.wait4(process.pid, 0)
        stopper.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        spent[END] = Spent(time.monotonic() - started, usage.ru_utime + usage.ru_stime)
        printed.seek(0)
        return Run(spent, "".join(said), printed.read(), process.returncode)


def _cpu_of_tree(root: int) -> float:
    """Of the process, of all it started that live, and of all that these have waited for."""
    parents, ticks = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents[int(folder.name)], ticks[int(folder.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    return sum(ticks[each] for each in ticks if _is_within(each, root, parents)) / _TICK


def _is_within(process: int, root: int, parents: Mapping[int, int]) -> bool:
    while process in parents and process != root:
        process = parents[process]
    return process == root
