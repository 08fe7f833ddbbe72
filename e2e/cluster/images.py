"""Container images: built by buildah without a daemon, brought to the node's containerd or pushed to a registry."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from e2e.cluster import build as binaries
from e2e.cluster import containerd, paths
from e2e.cluster.command import CommandError, output, run

BASE = "localhost/quanary-base:bookworm"
BASE_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
# What the cluster itself runs, and whose stamp says which version of the binary goes in.
SYSTEM = {
    "pause": None,
    "coredns": "gateway",
    "envoy-gateway": "gateway",
    "envoy": "envoy",
    "registry": None,
    "prometheus": "prometheus",
    "traefik": "traefik",
}
# Built with the rest, brought to the node by whoever wants them.
ON_DEMAND = frozenset({"traefik"})
LABEL = "quanary.dev/image-id"
LOG = paths.LOGS / "images.log"
ENVIRONMENT = {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


def buildah(*arguments: str | Path) -> list[str | Path]:
    """With storage of our own, so that no other user of buildah sees or prunes it."""
    return ["buildah", f"--root={paths.BUILDAH}", f"--runroot={paths.BUILDAH / 'run'}", *arguments]


def full(tag: str) -> str:
    """The name that builder, containerd and kubelet agree on: `localhost/` before one that names no host."""
    host, slash, _ = tag.partition("/")
    return tag if slash and (host == "localhost" or "." in host or ":" in host) else f"localhost/{tag}"


def image_id(tag: str) -> str | None:
    try:
        form = "--format={{.FromImageID}}"
        return output(buildah("inspect", "--type=image", form, full(tag)), env=ENVIRONMENT).strip()
    except CommandError:
        return None


def base_image() -> str:
    """A minimal Debian with Python, made once from the mirror that this machine's own apt uses."""
    if image_id(BASE) is not None:
        return BASE
    with binaries.locked(), tempfile.TemporaryDirectory(prefix="quanary-base-") as root:
        if image_id(BASE) is not None:  # another builder was faster
            return BASE
        mirror = output(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).split()[0]
        run(["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", root, mirror], LOG)
        for leftover in ("var/cache/apt", "var/lib/apt/lists"):
            run(["find", Path(root) / leftover, "-type", "f", "-delete"], LOG)
        container = output(buildah("from", "scratch"), env=ENVIRONMENT).strip()
        run(buildah("copy", container, f"{root}/", "/"), LOG, env=ENVIRONMENT)
        run(buildah("commit", "--rm", container, BASE), LOG, env=ENVIRONMENT)
    return BASE


def build(
    context: Path,
    tag: str,
    *,
    target: str | None = None,
    file: Path | None = None,
    arguments: Mapping[str, str] | None = None,
) -> str:
    """Build a Dockerfile (one target of it) with BASE as its base image; returns the image's id."""
    values = {"BASE": base_image()} | dict(arguments or {})
    options = [f"--build-arg={name}={value}" for name, value in values.items()]
    # The machine's certificates and pip settings, so that packages install inside as they do outside.
    shared = [path for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    options += [f"--volume={path}:{path}:ro" for path in shared]
    options += [f"--target={target}"] if target else []
    options += ["--layers", "--pull-never", f"--file={file or context / 'Dockerfile'}", f"--tag={full(tag)}"]
    run(buildah("bud", *options, context), LOG, env=ENVIRONMENT)
    built = image_id(tag)
    assert built is not None
    return built


def bring(tag: str) -> str:
    """Make a built image usable by pods; returns the reference to write into them."""
    if paths.is_existing():
        return push(tag)[0]
    load(tag)
    return full(tag)


def bring_pinned(tag: str) -> str:
    """As `bring`, but the reference names the image by its digest."""
    if paths.is_existing():
        reference, digest = push(tag)
        return f"{reference.rpartition(':')[0]}@{digest}"
    load(tag)
    found = containerd.ctr("images", "ls", f"name=={full(tag)}").split()
    reference = f"{full(tag).rpartition(':')[0]}@{next(word for word in found if word.startswith('sha256:'))}"
    # The name that it would have had it been pulled by digest.
    containerd.ctr("images", "tag", "--force", full(tag), reference)
    return reference


def push(tag: str) -> tuple[str, str]:
    """To the registry of the user's cluster; the reference and the digest there."""
    registry = os.environ.get("REGISTRY")
    if not registry:
        raise CommandError("CLUSTER=existing needs REGISTRY=host[:port][/path], which the cluster can pull from")
    reference = f"{registry}/{full(tag).removeprefix('localhost/')}"
    verify = "false" if os.environ.get("REGISTRY_INSECURE") else "true"
    with tempfile.NamedTemporaryFile("r") as digest:
        options = (f"--tls-verify={verify}", f"--digestfile={digest.name}")
        run(buildah("push", *options, full(tag), f"docker://{reference}"), LOG, env=ENVIRONMENT)
        return reference, digest.read().strip()


def load(tag: str) -> None:
    """Into the node's containerd, unless this very image is there."""
    known, name = image_id(tag), full(tag)
    if known is None:
        raise CommandError(f"{name} is not built")
    if known in containerd.ctr("images", "ls", f"name=={name}"):
        return
    with tempfile.TemporaryDirectory(dir=paths.CACHE, prefix="image-") as folder:
        archive = f"{folder}/image.tar"
        # Not oci-archive, which compresses every layer for nothing: ten times slower.
        run(buildah("push", name, f"docker-archive:{archive}:{name}"), LOG, env=ENVIRONMENT)
        containerd.ctr("images", "import", archive)
    containerd.ctr("images", "label", name, f"{LABEL}={known}")


def system_tag(name: str) -> str:
    """Named by what goes in, so that an image is built again exactly when that changes."""
    stamps = [paths.BIN / f".{SYSTEM[name]}.stamp"] if SYSTEM[name] else []
    return f"localhost/quanary-{name}:{binaries.fingerprint(paths.DOCKERFILES / f'{name}.Dockerfile', *stamps)}"


def build_system() -> None:
    for name in SYSTEM:
        tag = system_tag(name)
        if image_id(tag) is None:
            build(paths.BIN, tag, file=paths.DOCKERFILES / f"{name}.Dockerfile")


def load_system() -> None:
    for name in SYSTEM.keys() - ON_DEMAND:
        load(system_tag(name))
