"""Energy of the CPU packages, as Intel's and AMD's RAPL counters tell it under /sys/class/powercap.

A counter covers its whole package, neighbours and idle power included: good for a ratio of two variants that take
turns, not for a bill. The one file of this package that reads the machine itself: nobody but the kernel writes there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

POWERCAP: Final = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Package:
    """One CPU package's counter; it starts at 0 again after `range_microjoules`."""

    counter: Path
    range_microjoules: int

    def read(self) -> int:
        """Microjoules since it last started at 0."""
        return int(self.counter.read_text())


def readable_packages(powercap: Path = POWERCAP) -> tuple[Package, ...]:
    """All counters of packages that this process may read: none in most virtual machines, and for most users but root.

    Their parts (cores, memory) and the platform counter above them would be counted twice.
    """
    # By name: one package may be shown twice, by its register and by memory-mapped I/O (intel-rapl, intel-rapl-mmio).
    zones = {each.read_text(): each.parent for each in sorted(powercap.glob("*/name"))}
    packages = [zone for name, zone in sorted(zones.items()) if name.startswith("package-")]
    return tuple(
        Package(each / "energy_uj", int((each / "max_energy_range_uj").read_text()))
        for each in packages
        if _is_readable(each / "energy_uj")
    )


def _is_readable(counter: Path) -> bool:
    # Asked by reading: root without capabilities passes every check of permissions but this one.
    try:
        counter.read_text()
    except OSError:
        return False
    return True


def joules_between(packages: Sequence[Package], before: Sequence[int], after: Sequence[int]) -> float:
    """Spent by all packages between two readings less than a full range apart."""
    spent = (
        (now - then) % (package.range_microjoules + 1)
        for package, then, now in zip(packages, before, after, strict=True)
    )
    return sum(spent) * 1e-6
