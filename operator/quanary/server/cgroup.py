"""How many threads this container may keep busy: the CPU limit of its cgroup, never the host's count."""

from collections.abc import Iterator
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def threads_allowed(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> int:
    """Whole CPUs of the limit, at least 1; 1 where there is no limit, since the host is shared with others."""
    limit = cpu_limit(mount, membership)
    return max(1, int(limit)) if limit is not None else 1


def cpu_limit(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> float | None:
    """The tightest limit in CPUs of the own cgroup and those above it (cgroup v2 and v1), or None."""
    limits = [limit for folder in _folders(mount, membership) if (limit := _limit_of(folder)) is not None]
    return min(limits, default=None)


def _folders(mount: Path, membership: Path) -> Iterator[Path]:
    lines = membership.read_text().splitlines() if membership.exists() else []
    paths = {"": "/", "cpu": "/"}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    # Inside a container the path may be the host's while the mount shows only the own part: then only the top exists.
    for root, path in ((mount, paths[""]), (mount / "unified", paths[""]), (mount / "cpu", paths["cpu"])):
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _limit_of(folder: Path) -> float | None:
    unified, quota, period = folder / "cpu.max", folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    if unified.is_file():
        quota_text, period_text = unified.read_text().split()
    elif quota.is_file() and period.is_file():
        quota_text, period_text = quota.read_text().strip(), period.read_text().strip()
    else:
        return None
    if quota_text in {"max", "-1"}:
        return None
    return int(quota_text) / int(period_text)
