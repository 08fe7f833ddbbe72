"""What the tests run confined. By itself, so that a process that imports it imports nothing else."""

import os
import signal
import time
from pathlib import Path

from google.protobuf.message import EncodeError

from quanary.wire.report import RefusedError


def refuse() -> None:
    raise RefusedError("spec.model.uri", "something", "another thing")


def allocate(count: int) -> int:
    return len(bytearray(count))


def fail_to_encode(text: str) -> None:
    """As protobuf does it when memory ends."""
    raise EncodeError(text)


def litter() -> list[str]:
    Path("litter").write_text("x")
    return [each.name for each in Path.cwd().iterdir()]


def linger(note: Path) -> None:
    """Say which process this is, and never end."""
    note.with_suffix(".partial").write_text(str(os.getpid()))
    note.with_suffix(".partial").rename(note)
    time.sleep(600)


def kill_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
