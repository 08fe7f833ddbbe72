"""Addresses of the cluster and the node's own: all in 198.18.0.0/15, which no network routes."""

import json
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.command import CommandError, output

PODS = "198.18.0.0/17"
SERVICES = "198.19.0.0/16"
API_SERVICE = "198.19.0.1"
DNS = "198.19.0.10"
NODE = "198.18.255.1"
ETCD = "127.18.255.1"  # loopback: no pod may reach it, it asks nobody who they are

BRIDGE = "quanary0"  # carries nothing but the node's address: not every kernel has dummy devices
CNI_NAME = "quanary"
NFT_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))

# What we and the kubelet set on the machine; put back when the cluster goes.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
SAVED = paths.CLUSTER / "sysctls.json"


def sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def up() -> None:
    save_sysctls()
    sysctl("net/ipv4/ip_forward").write_text("1")
    if BRIDGE not in links():
        output(["ip", "link", "add", BRIDGE, "type", "bridge"])
    output(["ip", "address", "replace", f"{NODE}/32", "dev", BRIDGE])
    output(["ip", "link", "set", BRIDGE, "up"])
    # Only so that the kernel has a route to start from: kube-proxy rewrites the destination.
    output(["ip", "route", "replace", SERVICES, "dev", BRIDGE, "src", NODE])


def down() -> None:
    if BRIDGE in links():
        output(["ip", "link", "delete", BRIDGE])
    for family, table in NFT_TABLES:
        if f"table {family} {table}\n" in output(["nft", "list", "tables"]):
            output(["nft", "delete", "table", family, table])
    restore_sysctls()


def links() -> set[str]:
    return {link["ifname"] for link in json.loads(output(["ip", "-json", "link"]))}


def save_sysctls() -> None:
    if SAVED.exists():
        return
    SAVED.parent.mkdir(parents=True, exist_ok=True)
    SAVED.write_text(json.dumps({name: sysctl(name).read_text().strip() for name in SYSCTLS if sysctl(name).exists()}))


def restore_sysctls() -> None:
    if not SAVED.exists():
        return
    for name, value in json.loads(SAVED.read_text()).items():
        if sysctl(name).read_text().strip() == value:
            continue
        try:
            sysctl(name).write_text(value)
        except OSError as refused:
            raise CommandError(f"cannot set {name} back to {value}: {refused}") from refused
