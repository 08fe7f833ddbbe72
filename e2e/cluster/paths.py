"""Where everything lies: the cache outlives a cluster, the cluster's folder does not (but for its images)."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPO = PACKAGE.parents[1]
TOOLS = PACKAGE / "tools"
CONFIG = PACKAGE / "config"
MANIFESTS = PACKAGE / "manifests"
DOCKERFILES = PACKAGE / "images"

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanary"
BIN = CACHE / "bin"
SHARE = CACHE / "share"
LOGS = CACHE / "logs"
BUILDAH = CACHE / "buildah"

CLUSTER = CACHE / "cluster"
KUBECONFIG = CLUSTER / "kubeconfig"
CONTAINERD = CACHE / "containerd"

GATEWAY_API_CRDS = SHARE / "gateway-api"


def is_existing() -> bool:
    """Whether the user brings a cluster (CLUSTER=existing, KUBECONFIG=…) instead of the one built here."""
    return os.environ.get("CLUSTER") == "existing"


def kubeconfig() -> Path:
    """The kubeconfig every command here uses: the user's with CLUSTER=existing, else our own."""
    if not is_existing():
        return KUBECONFIG
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
