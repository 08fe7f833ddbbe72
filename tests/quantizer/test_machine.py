from pathlib import Path

import pytest

from quanary.quantizer.machine import cpu_features, cpu_limit, tool_versions


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({}, 1),
    ],
)
def test_threads_follow_the_limit_of_the_container(tmp_path: Path, files: dict[str, str], cpus: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_limit(tmp_path) == cpus


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor: 0\nflags\t\t: fpu avx2 sse avx512_vnni avx512f\n", ("avx2", "avx512_vnni", "avx512f")),
        ("Features\t: fp asimd asimddp i8mm\n", ("asimddp", "i8mm")),
        ("processor: 0\n", ()),
    ],
)
def test_cpu_features_are_those_that_choose_kernels(tmp_path: Path, text: str, features: tuple[str, ...]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_features(tmp_path / "cpuinfo") == features


def test_versions_name_what_shapes_an_artifact() -> None:
    assert {"onnx", "onnxruntime", "numpy", "scipy", "python"} <= tool_versions().keys()
