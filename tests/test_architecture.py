"""What holds for the repository as a whole."""

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from quanary.api import crd
from quanary.controller.settings import Settings

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts/quanary"
# What parses models; the operator's image must not hold it.
MODEL_PARSERS: Final = frozenset({"onnx", "onnxruntime", "numpy", "scipy"})


def test_import_rules_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", [crd.CRD_PATH, crd.CHART_CRD_PATH, crd.REFERENCE_PATH], ids=str)
def test_generated_files_say_what_the_models_say(path: Path) -> None:
    assert (ROOT / path).read_text() == crd.generated_files()[path], "run `python -m quanary.api.crd`"


def test_operator_is_a_source_root_and_hides_no_stdlib_module() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
    where = subprocess.run(
        [sys.executable, "-c", "import collections, operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not Path(where.stdout.strip()).is_relative_to(ROOT / "operator")


def test_the_chart_sets_every_setting_and_no_other() -> None:
    template = (CHART / "templates/deployment.yaml").read_text()
    rendered = re.findall(r"name: (QUANARY_\w+)", template)
    assert sorted(rendered) == sorted(f"QUANARY_{each.name.upper()}" for each in fields(Settings))


def locked(name: str) -> dict[str, str]:
    """Versions that a lock file pins, by package."""
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["operator", "runtime", "build", "dev"])
def test_every_pin_has_a_hash(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    blocks = re.split(r"^(?=\S)", text.replace("\\\n", " "), flags=re.MULTILINE)
    pins = [block for block in blocks if "==" in block]
    assert len(pins) == len(locked(name)) > 0
    assert [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_operator_installs_nothing_that_parses_models() -> None:
    assert MODEL_PARSERS.isdisjoint(locked("operator"))
    assert set(locked("runtime")) >= MODEL_PARSERS


@pytest.mark.parametrize("name", ["operator", "runtime", "build"])
def test_tests_run_on_the_versions_that_ship(name: str) -> None:
    tested = locked("dev")
    different = {
        package: (version, tested[package])
        for package, version in locked(name).items()
        if package in tested and tested[package] != version
    }
    assert different == {}
    assert set(locked(name)) - set(tested) == set()


def test_every_dependency_of_the_project_is_locked() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def named(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", each, maxsplit=1)[0].lower() for each in requirements}

    extras = project["optional-dependencies"]
    assert named(project["dependencies"]) <= set(locked("operator"))
    assert named(project["dependencies"] + extras["runtime"]) <= set(locked("runtime"))
    assert named(project["dependencies"] + extras["runtime"] + extras["dev"]) <= set(locked("dev"))


def test_the_chart_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = (CHART / "Chart.yaml").read_text()
    assert f"\nversion: {project['version']}\n" in chart
    assert f"\nappVersion: {project['version']}\n" in chart
    assert f"ARG VERSION={project['version']}\n" in (ROOT / "Dockerfile").read_text()
    assert Settings().runtime_image == f"quanary/runtime:{project['version']}"
