"""The chart as the real helm renders it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.cluster import paths

CHART: Final = Path(__file__).parents[2] / "charts/quanary"
# Without a cluster helm assumes a version, which a helm built from its module says is 1.20.
KUBERNETES: Final = "--kube-version=1.37.0"


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm: the one built for the cluster, else the user's own."""
    built, found = paths.BIN / "helm", shutil.which("helm")
    assert built.exists() or found, "helm is neither built (make cluster-build) nor installed"
    program = built if built.exists() else Path(str(found))
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def template(values: dict[str, Any] | None = None, namespace: str = "quanary-system") -> list[dict[str, Any]]:
    """Every object of the chart with these values over its own."""
    settings = [f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()]
    rendered = helm("template", "quanary", CHART, f"--namespace={namespace}", KUBERNETES, *settings)
    assert rendered.returncode == 0, rendered.stderr
    return [each for each in yaml.safe_load_all(rendered.stdout) if each]


def one(objects: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The only object of a kind, or of a kind and name."""
    [found] = [each for each in objects if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    return found
