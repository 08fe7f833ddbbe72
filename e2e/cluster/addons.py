"""What runs in the cluster before any of ours: DNS, the gateway, a registry, Prometheus."""

import json
import socket
import tempfile
from pathlib import Path
from string import Template

from e2e.cluster import build, images, network, paths
from e2e.cluster.kubectl import apply, get, helm, kubectl, succeeds
from e2e.cluster.processes import wait

RELEASE, RELEASE_NAMESPACE = "envoy-gateway", "envoy-gateway-system"
ENVOY_GATEWAY_CRDS = paths.SHARE / "gateway-helm/charts/crds/crds/generated"

# What must be Available before the cluster counts as up.
DEPLOYMENTS = (
    ("kube-system", "coredns"),
    ("envoy-gateway-system", "envoy-gateway"),
    ("registry", "registry"),
    ("monitoring", "prometheus"),
)


def render(manifest: str) -> str:
    """A manifest with the images and addresses of this cluster filled in; an unknown name is an error."""
    values = {name.replace("-", "_"): images.system_tag(name) for name in images.SYSTEM}
    values["dns"] = network.DNS
    values["prometheus_config"] = build.fingerprint(paths.MANIFESTS / "prometheus.yaml")
    return Template((paths.MANIFESTS / manifest).read_text()).substitute(values)


def install(name: str) -> None:
    apply(stdin=render(f"{name}.yaml"))


def install_base() -> None:
    """Namespaces and DNS, which need nothing that the gateway brings."""
    install("namespaces")
    install("coredns")


def install_gateway() -> None:
    apply(paths.GATEWAY_API_CRDS, ENVOY_GATEWAY_CRDS)
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "gateways.gateway.networking.k8s.io")
    values = render("gateway-values.yaml")
    if not is_deployed(values):
        upgrade(values)
    install("gateway")


def install_second_gateway() -> None:
    """Traefik, which the cluster is up without; ready when this returns."""
    images.load(images.system_tag("traefik"))
    install("traefik")
    kubectl("rollout", "status", "--namespace=traefik", "deployment/traefik", "--timeout=120s")
    kubectl("wait", "--for=condition=Programmed", "--timeout=60s", "--namespace=traefik", "gateway/traefik")


def upgrade(values: str) -> None:
    """The chart's own values are a template that its release process fills; ours replace every such place."""
    chart = paths.SHARE / "gateway-helm"
    filled = Template((chart / "values.tmpl.yaml").read_text())
    images_of = {"GatewayImage": images.system_tag("envoy-gateway"), "GatewayImagePullPolicy": "Never"}
    (chart / "values.yaml").write_text(filled.safe_substitute(images_of))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        helm(
            *("upgrade", RELEASE, chart, "--install", f"--namespace={RELEASE_NAMESPACE}"),
            *("--values", Path(file.name), "--description", build.fingerprint(extra=values), "--timeout=3m"),
        )


def is_deployed(values: str) -> bool:
    """Whether the last release succeeded with these values (its description holds their digest)."""
    if helm("list", f"--namespace={RELEASE_NAMESPACE}", "--deployed", "--short").strip() != RELEASE:
        return False
    (last,) = json.loads(helm("history", RELEASE, f"--namespace={RELEASE_NAMESPACE}", "--max=1", "--output=json"))
    return bool(last["description"] == build.fingerprint(extra=values))


def wait_ready(seconds: float = 180) -> None:
    for namespace, name in DEPLOYMENTS:
        kubectl("rollout", "status", f"--namespace={namespace}", f"deployment/{name}", f"--timeout={seconds:.0f}s")
    wait("the Gateway to be programmed", is_gateway_ready, seconds)


def is_gateway_ready() -> bool:
    """Programmed, and Envoy takes connections: after a crash the condition is older than the pods."""
    status = get("gateway", "--namespace=gateway", "quanary").get("status", {})
    if not any(c["type"] == "Programmed" and c["status"] == "True" for c in status.get("conditions", [])):
        return False
    try:
        socket.create_connection((status["addresses"][0]["value"], 80), timeout=1).close()
    except OSError:
        return False
    return True


def readiness() -> list[tuple[str, bool]]:
    """Each of them and whether it is ready, for the status table."""
    rows = []
    for namespace, name in DEPLOYMENTS:
        available = ("wait", "--for=condition=Available", "--timeout=0s", f"--namespace={namespace}")
        rows.append((f"{namespace}/{name}", succeeds(*available, f"deployment/{name}")))
    rows.append(("gateway/quanary", succeeds("get", "gateway", "-n", "gateway", "quanary") and is_gateway_ready()))
    return rows
