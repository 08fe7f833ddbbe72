"""What the node's programs leave on the machine, found by our own paths and groups, never by a program's name."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

from e2e.cluster import network, node, paths
from e2e.cluster.command import CommandError, output
from e2e.cluster.containerd import SOCKET
from e2e.cluster.processes import identity, kill

# Places that the programs do not let us choose.
CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOGS = Path("/var/log/containers")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def processes() -> Iterator[int]:
    """Our containers' processes (by control group) and their shims (by our containerd's address)."""
    found: set[int] = set()
    for group in node.control_groups():
        for file in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(map(int, file.read_text().split()))
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(SOCKET) in (folder / "cmdline").read_bytes().decode(errors="replace").split("\0"):
                found.add(int(folder.name))
    yield from found - {os.getpid()}


def mounts() -> list[str]:
    """Mount points below our folders, deepest last mounted first."""
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in reversed(points) if is_ours(Path(point))]


def is_ours(point: Path) -> bool:
    return point.is_relative_to(paths.CLUSTER) or point.is_relative_to(paths.CONTAINERD)


def end_processes() -> None:
    for pid in processes():
        started = identity(pid)
        if started is not None:
            kill(pid, started, grace_seconds=0.0)


def unmount() -> None:
    for point in mounts():
        output(["umount", "--lazy", point])
    with contextlib.suppress(CommandError):  # not there, or a build is under way
        output(["umount", paths.BUILDAH / "overlay"])


def remove_control_groups() -> None:
    """Deepest first; the kernel may need a moment to see that a group is empty."""
    for root in node.control_groups():
        for group in [*sorted(root.rglob("*/"), key=lambda path: len(path.parts), reverse=True), root]:
            deadline = monotonic() + 2
            while group.exists():
                try:
                    group.rmdir()
                except OSError:
                    if monotonic() > deadline:
                        raise
                    sleep(0.05)


def remove_results() -> None:
    """What the pod network remembers of our sandboxes: of our network, and of the loopback in the same sandboxes."""
    for ours in CNI_RESULTS.glob(f"{network.CNI_NAME}-*-eth0"):
        sandbox = ours.name.removeprefix(f"{network.CNI_NAME}-").removesuffix("-eth0")
        for result in CNI_RESULTS.glob(f"*-{sandbox}-*"):
            result.unlink()


def remove_files() -> None:
    """All of the cluster's folder but its logs; containerd's images stay for the next start."""
    remove_results()
    for link in CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(paths.CLUSTER):
            link.unlink()
    (DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    for shared in (DEVICE_PLUGINS, DEVICE_PLUGINS.parent, CONTAINER_LOGS, CNI_RESULTS, CNI_RESULTS.parent):
        with contextlib.suppress(OSError):  # not there, or someone else's files in it
            shared.rmdir()
    shutil.rmtree(paths.CONTAINERD / "state", ignore_errors=True)
    for folder in ("etcd", "etc", "ipam", "kubelet", "pki", "pod-logs", "run"):
        shutil.rmtree(paths.CLUSTER / folder, ignore_errors=True)
    for file in (paths.KUBECONFIG, network.SAVED):
        file.unlink(missing_ok=True)


def leftovers() -> list[str]:
    """What is still there and should not be; empty after a clean `down`."""
    tables = output(["nft", "list", "tables"])
    return [
        *(f"process {pid}" for pid in processes()),
        *(f"mount {point}" for point in mounts()),
        *(f"link {link}" for link in network.links() if link == network.BRIDGE),
        *(f"nft table {f} {t}" for f, t in network.NFT_TABLES if f"table {f} {t}\n" in tables),
        *(f"control group {group}" for group in node.control_groups() if group.exists()),
    ]
