"""kubectl and helm against the chosen cluster."""

import json
import shutil
from pathlib import Path
from typing import Any

from e2e.cluster import paths
from e2e.cluster.command import CommandError, output


def client(name: str) -> Path:
    """The one built here, else the user's own (with CLUSTER=existing nothing need be built)."""
    built, found = paths.BIN / name, shutil.which(name)
    if not built.exists() and found is None:
        raise CommandError(f"{name} is neither built nor installed: run `python -m e2e.cluster build`")
    return built if built.exists() else Path(found or name)


def kubectl(*arguments: str | Path, stdin: str | None = None) -> str:
    return output([client("kubectl"), f"--kubeconfig={paths.kubeconfig()}", *arguments], stdin=stdin)


def helm(*arguments: str | Path, stdin: str | None = None) -> str:
    return output([client("helm"), f"--kubeconfig={paths.kubeconfig()}", *arguments], stdin=stdin)


def get(*arguments: str) -> dict[str, Any]:
    """One object, or a list of them."""
    found: dict[str, Any] = json.loads(kubectl("get", *arguments, "--output=json"))
    return found


def apply(*sources: str | Path, stdin: str | None = None) -> None:
    """Server-side, so that large CRDs fit and a second time changes nothing."""
    files = [f"--filename={source}" for source in sources] or ["--filename=-"]
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=quanary-e2e", *files, stdin=stdin)


def succeeds(*arguments: str) -> bool:
    try:
        kubectl(*arguments)
    except CommandError:
        return False
    return True
