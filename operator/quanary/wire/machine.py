"""What the quantizer and the server must read alike of the machine below them: CPU features and the CPU limit.

Pure: each program hands in how it reads a file.
"""

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final

# Those that choose ONNX Runtime's integer kernels, hence the arithmetic of an INT8 model.
CPU_FEATURES: Final = frozenset({"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})

CPUINFO: Final = "/proc/cpuinfo"
MEMBERSHIP: Final = "/proc/self/cgroup"
MOUNT: Final = PurePosixPath("/sys/fs/cgroup")

# The text of the file at a path, or None where there is none.
Read = Callable[[str], str | None]


def cpu_features(read: Read) -> tuple[str, ...]:
    """The `CPU_FEATURES` of this CPU, sorted."""
    for line in (read(CPUINFO) or "").splitlines():
        # x86 calls them flags, ARM Features.
        if line.startswith(("flags", "Features")):
            return tuple(sorted(CPU_FEATURES.intersection(line.partition(":")[2].split())))
    return ()


def parse_features(text: str) -> frozenset[str]:
    """A set of features out of `avx2,avx512f`. Names that are not known here are kept: no CPU is shown to have them."""
    return frozenset(text.split(",") if text else ())


def threads_allowed(read: Read) -> int:
    """Whole CPUs of this container's limit, at least 1; 1 where there is no limit, since the host is shared."""
    limit = cpu_limit(read)
    return max(1, int(limit)) if limit is not None else 1


def cpu_limit(read: Read) -> float | None:
    """The tightest limit in CPUs of the own cgroup and those above it (cgroup v2 and v1), or None."""
    folders = _cgroups(read(MEMBERSHIP) or "")
    return min((limit for folder in folders if (limit := _limit_of(folder, read)) is not None), default=None)


def _cgroups(membership: str) -> Iterator[PurePosixPath]:
    paths = {"": "/", "cpu": "/"}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    # Inside a container the path may be the host's while the mount shows only the own part: then only the top exists.
    for root, path in ((MOUNT, paths[""]), (MOUNT / "unified", paths[""]), (MOUNT / "cpu", paths["cpu"])):
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _limit_of(folder: PurePosixPath, read: Read) -> float | None:
    unified = read(f"{folder}/cpu.max")
    quota, period = read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us")
    if unified is not None:
        quota, period = unified.split()
    if quota is None or period is None or quota.strip() in {"max", "-1"}:
        return None
    return int(quota) / int(period)
