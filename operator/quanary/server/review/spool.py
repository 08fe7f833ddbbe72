"""Lines that wait in a folder until they are delivered, within bounds, across restarts of the process.

A segment is a file of lines, written whole under a temporary name, flushed to the disk and then renamed: after a crash
it is there whole or not at all. What does not fit is refused, so that what was taken is never lost to what came later.
"""

import asyncio
import fcntl
import os
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SEGMENT: Final = re.compile(r"([0-9]{12})-([0-9]{1,9})\.lines")
_BLOCK_BYTES: Final = 4096
_UNFINISHED: Final = ".unfinished"


@dataclass(frozen=True)
class Segment:
    """One file of so many lines."""

    path: Path
    lines: int
    size_bytes: int  # on the disk, where a file takes whole blocks: many small ones take many times what they hold


class Spool:
    """Segments, oldest first. One process at a time has it; all methods are called on one event loop."""

    def __init__(self, folder: Path, *, lines_limit: int, bytes_limit: int) -> None:
        """Take what an earlier process left there; it may be more than the limits, which then admit nothing new.

        Raises:
            OSError: the folder cannot be made or written, or another process has it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lines_limit = lines_limit
        self._bytes_limit = bytes_limit
        self._lock = _lock(folder / ".lock")
        for each in folder.glob(f"*{_UNFINISHED}"):
            each.unlink()
        self._segments = deque(_found(folder))
        self._next = 1 + max((int(each.path.name[:12]) for each in self._segments), default=0)
        self.lines = sum(each.lines for each in self._segments)
        self.size_bytes = sum(each.size_bytes for each in self._segments)

    def fits(self, lines: int, size_bytes: int) -> bool:
        """Whether so much more may be taken."""
        return self.lines + lines <= self._lines_limit and self.size_bytes + _on_disk(size_bytes) <= self._bytes_limit

    async def append(self, lines: Sequence[bytes]) -> None:
        """One more segment; once this returns it survives the process. No line holds a line end.

        Raises:
            OSError: it could not be written; nothing of it is there.
        """
        content = b"\n".join(lines)
        path = self._folder / f"{self._next:012d}-{len(lines)}.lines"
        self._next += 1
        await asyncio.to_thread(_write_durably, path, content)
        self._add(Segment(path, len(lines), _on_disk(len(content))))

    def oldest(self, lines_limit: int, bytes_limit: int) -> list[Segment]:
        """The first segments that together stay within the limits; always one, if there is any."""
        found: list[Segment] = []
        lines = size = 0
        for each in self._segments:
            lines, size = lines + each.lines, size + each.size_bytes
            if found and (lines > lines_limit or size > bytes_limit):
                break
            found.append(each)
        return found

    async def read(self, segment: Segment) -> list[bytes]:
        """Its lines.

        Raises:
            OSError: it cannot be read.
        """
        return (await asyncio.to_thread(segment.path.read_bytes)).split(b"\n")

    async def shorten(self, segment: Segment, lines: Sequence[bytes]) -> Segment:
        """The oldest segment again, with these of its lines only, which are fewer.

        Raises:
            OSError: it could not be written; the segment is as it was.
        """
        content = b"\n".join(lines)
        path = segment.path.with_name(f"{segment.path.name[:12]}-{len(lines)}.lines")
        # After a crash between the two, both are there: the lines are delivered twice, none is lost.
        await asyncio.to_thread(_write_durably, path, content)
        self.remove(segment)
        shorter = Segment(path, len(lines), _on_disk(len(content)))
        self._segments.appendleft(shorter)
        self.lines += shorter.lines
        self.size_bytes += shorter.size_bytes
        return shorter

    def remove(self, segment: Segment) -> None:
        """Forget a segment that was delivered. Should a crash bring the file back, it is delivered twice."""
        self._segments.remove(segment)
        self.lines -= segment.lines
        self.size_bytes -= segment.size_bytes
        segment.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the folder to the next process."""
        os.close(self._lock)

    def _add(self, segment: Segment) -> None:
        self._segments.append(segment)
        self.lines += segment.lines
        self.size_bytes += segment.size_bytes


def _lock(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise BlockingIOError(error.errno, "another process has this spool", str(path)) from None
    return descriptor


def _found(folder: Path) -> list[Segment]:
    names = ((each, _SEGMENT.fullmatch(each.name)) for each in sorted(folder.iterdir()))
    return [Segment(path, int(match[2]), _on_disk(path.stat().st_size)) for path, match in names if match]


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


def _write_durably(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync(path.parent)
    except OSError:
        for each in (unfinished, path):
            each.unlink(missing_ok=True)
        raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
