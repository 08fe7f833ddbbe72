"""The machine below the server: its CPU's features, and how many threads this container may keep busy."""

from pathlib import Path

from quanary.wire import machine


def threads_allowed() -> int:
    """By the CPU limit of the cgroup, never the host's count."""
    return machine.threads_allowed(_read)


def cpu_features() -> tuple[str, ...]:
    """Those that choose integer kernels, sorted."""
    return machine.cpu_features(_read)


def _read(path: str) -> str | None:
    file = Path(path)
    return file.read_text() if file.is_file() else None
