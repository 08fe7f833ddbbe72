"""What this run stands on: tool versions, CPU features, the CPU limit."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

# Those that choose ONNX Runtime's integer kernels.
_FEATURES: Final = frozenset({"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})


def tool_versions() -> dict[str, str]:
    """Of everything that shapes an artifact or its certificate."""
    tools = {name: version(name) for name in ("onnx", "onnxruntime", "numpy", "scipy", "quanary") if _installed(name)}
    return tools | {"python": platform.python_version()}


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """Those of the CPU this runs on."""
    for line in cpuinfo.read_text().splitlines():
        if line.startswith(("flags", "Features")):
            return tuple(sorted(_FEATURES & set(line.split(":", 1)[1].split())))
    return ()


def cpu_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole CPUs of this container's limit, at least 1; 1 without a limit. As a serving pod counts its threads."""
    unified, quota, period = cgroup / "cpu.max", cgroup / "cpu/cpu.cfs_quota_us", cgroup / "cpu/cpu.cfs_period_us"
    if unified.is_file():
        words = unified.read_text().split()
    elif quota.is_file() and period.is_file():
        words = [quota.read_text().strip(), period.read_text().strip()]
    else:
        return 1
    return 1 if words[0] in {"max", "-1"} else max(1, int(words[0]) // int(words[1]))
