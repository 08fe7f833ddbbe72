"""CPU limits as the kernel writes them."""

from pathlib import Path

import pytest

from quanary.server.cgroup import cpu_limit, threads_allowed

QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


def fill(mount: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (mount / name).parent.mkdir(parents=True, exist_ok=True)
        (mount / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "limit", "threads"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, 1),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 0.1, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None, 1),
        ("0::/pod/box\n", {"pod/cpu.max": "100000 100000\n", "pod/box/cpu.max": "max 100000\n"}, 1, 1),
        ("0::/pod/box\n", {"pod/cpu.max": "300000 100000\n", "pod/box/cpu.max": "200000 100000\n"}, 2, 2),
        ("0::/not/mounted\n", {"cpu.max": "400000 100000\n"}, 4, 4),
        ("4:cpu,cpuacct:/box\n0::/\n", {f"cpu/box/{QUOTA}": "300000\n", f"cpu/box/{PERIOD}": "100000\n"}, 3, 3),
        ("4:cpu:/\n", {f"cpu/{QUOTA}": "-1\n", f"cpu/{PERIOD}": "100000\n"}, None, 1),
        ("", {}, None, 1),
    ],
)
def test_threads_follow_the_tightest_limit(
    tmp_path: Path, membership: str, files: dict[str, str], limit: float | None, threads: int
) -> None:
    fill(tmp_path / "cgroup", files)
    own = tmp_path / "self"
    own.write_text(membership)
    assert cpu_limit(tmp_path / "cgroup", own) == limit
    assert threads_allowed(tmp_path / "cgroup", own) == threads


def test_this_machine_has_an_answer() -> None:
    assert threads_allowed() >= 1
