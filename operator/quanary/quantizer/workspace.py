"""Where a run works, and how it ends before its time: nothing of it is left, or the next run removes it."""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from quanary.wire.report import RefusedError

PREFIX: Final = ".work-"


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """A folder for what is in the making, beside the results: the root may be read-only, and renames stay atomic.

    ONNX Runtime's tools write temporary files of their own; they go there too. Folders of runs that were killed go.

    Raises:
        RefusedError: there can be no such folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedError("--out", f"{out}: {error.strerror}", "a folder that can be made and written to") from error
    before = tempfile.tempdir
    with _locked(out):
        _sweep(out)
        # Taken before another run sweeps: that waits for the lock on `out`.
        folder = tempfile.TemporaryDirectory(dir=out, prefix=PREFIX)
        held = _lock(Path(folder.name))
    with folder as work:
        tempfile.tempdir = work
        try:
            yield Path(work)
        finally:
            tempfile.tempdir = before
            os.close(held)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block by an exception, so that it cleans up; the first process of a pod would not hear it else.

    Raises:
        SystemExit: with 143, as a shell says of a process that SIGTERM killed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break off the cleaning
    raise SystemExit(128 + number)


def _sweep(out: Path) -> None:
    """Remove the folders that nobody holds any more."""
    for old in out.glob(f"{PREFIX}*"):
        try:
            held = _lock(old, os.O_NOFOLLOW)
        except OSError:
            continue  # its run lives, or it is no folder
        shutil.rmtree(old, ignore_errors=True)
        os.close(held)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock(folder: Path, flags: int = 0) -> int:
    """A handle that holds the folder until it is closed, or this process ends however.

    Raises:
        BlockingIOError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | flags)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
