"""Counters of CPU packages, as the kernel lays them out."""

from pathlib import Path

import pytest

from quanary.wire.energy import joules_between, readable_packages


def zone(powercap: Path, folder: str, name: str, microjoules: int, wraps: int = 1_000_000) -> Path:
    path = powercap / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{wraps}\n")
    return path


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 300)
    zone(tmp_path, "intel-rapl:0:0", "core", 50)
    zone(tmp_path, "intel-rapl:2", "psys", 500)
    packages = readable_packages(tmp_path)
    before = [each.read() for each in packages]
    (first / "energy_uj").write_text("2000100")
    (second / "energy_uj").write_text("500300")
    assert before == [100, 300]
    assert joules_between(packages, before, [500_100, 500_300]) == pytest.approx(1.0)


def test_a_package_that_is_shown_twice_counts_once(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 900)
    assert [each.read() for each in readable_packages(tmp_path)] == [100]


def test_a_counter_that_starts_anew_is_no_gain_of_energy(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0, wraps=999_999)
    assert joules_between(readable_packages(tmp_path), [900_000], [400_000]) == pytest.approx(0.5)


def test_a_counter_for_others_only_is_left_out(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0) / "energy_uj"
    counter.unlink()
    counter.mkdir()  # root may read every file: what no reader can read is a folder
    assert readable_packages(tmp_path) == ()
    assert joules_between((), (), ()) == 0


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert readable_packages(tmp_path / "none") == ()
