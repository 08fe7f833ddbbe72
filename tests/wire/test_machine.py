"""CPU features and CPU limits as the kernel writes them."""

import pytest

from quanary.wire.machine import cpu_features, cpu_limit, parse_features, threads_allowed

QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


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
        ("", {"cpu.max": "200000 100000\n"}, 2, 2),
        ("", {}, None, 1),
    ],
)
def test_threads_follow_the_tightest_limit(
    membership: str, files: dict[str, str], limit: float | None, threads: int
) -> None:
    tree = {f"/sys/fs/cgroup/{name}": text for name, text in files.items()} | {"/proc/self/cgroup": membership}
    assert cpu_limit(tree.get) == limit
    assert threads_allowed(tree.get) == threads


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 sse avx512_vnni avx512f\n", ("avx2", "avx512_vnni", "avx512f")),
        ("processor: 0\nflags\t\t: fpu avx2x xavx2\n", ()),
        ("Features\t: fp asimd asimddp i8mm\n", ("asimddp", "i8mm")),
        ("processor: 0\n", ()),
    ],
)
def test_cpu_features_are_those_that_choose_kernels(text: str, features: tuple[str, ...]) -> None:
    assert cpu_features({"/proc/cpuinfo": text}.get) == features


def test_a_system_without_cpuinfo_shows_no_features() -> None:
    assert cpu_features(dict[str, str]().get) == ()


@pytest.mark.parametrize(("text", "features"), [("", set()), ("avx2", {"avx2"}), ("avx512f,avx2", {"avx2", "avx512f"})])
def test_features_are_a_set(text: str, features: set[str]) -> None:
    assert parse_features(text) == features
