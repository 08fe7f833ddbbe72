"""CPU time of a server as the kernel's scheduler counts it: to the nanosecond, and whatever the neighbours do."""

from collections.abc import Iterator
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """All that the process, its threads and its children alive have used."""
    return sum(_task_seconds(task) for each in _tree(pid) for task in Path(f"/proc/{each}/task").glob("*"))


def resident_bytes(pid: int) -> int:
    """Memory of the tree; what several of its processes share is counted once (PSS)."""
    return sum(_proportional(each) for each in _tree(pid))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(children).split():
            yield from _tree(int(child))


def _task_seconds(task: Path) -> float:
    words = _read(task / "schedstat").split()
    return int(words[0]) / 1e9 if words else 0.0


def _proportional(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
