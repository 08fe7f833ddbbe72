"""Talking to the node's own containerd, and emptying it: pods end before their mounts and networks go."""

import contextlib
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.command import CommandError, output

SOCKET = paths.CONTAINERD / "containerd.sock"


def ctr(*arguments: str | Path) -> str:
    return output(["ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments])


def is_ready() -> bool:
    if not SOCKET.exists():
        return False
    try:
        return "ok" in ctr("plugins", "ls", "id==cri")
    except CommandError:
        return False


def remove_containers() -> None:
    """Kill every task, then forget every container; nothing may start them again meanwhile (no kubelet)."""
    # One that ended by itself in between is an error of the command; the sweep ends what is really left.
    with contextlib.suppress(CommandError):
        if tasks := ctr("tasks", "ls", "--quiet").split():
            ctr("tasks", "delete", "--force", *tasks)
    with contextlib.suppress(CommandError):
        if containers := ctr("containers", "ls", "--quiet").split():
            ctr("containers", "delete", *containers)
