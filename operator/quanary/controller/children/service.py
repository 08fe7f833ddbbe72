"""Services: one a variant, whose selector never changes, and two twin Services, whose selector is what moves."""

from typing import Any, Final

from quanary.api import names
from quanary.controller.children.manifest import Manifest, Model, metadata, model_labels, variant_labels
from quanary.controller.decision import Running, Target
from quanary.wire.launch import GRPC_PORT, HTTP_PORT, TWIN_PORT

# Gateways speak HTTP/2 to it without being asked: gRPC needs it from the first byte.
H2C: Final = "kubernetes.io/h2c"
Port = dict[str, Any]


def variant_service_manifest(model: Model, running: Running) -> Manifest:
    """What the route points at. Promotion edits the route alone, so endpoints never flap."""
    labels = variant_labels(model, running.variant, running.digest)
    name = names.variant_name(model.key.name, running.variant, running.digest)
    ports = [_port("http", HTTP_PORT), {**_port("grpc", GRPC_PORT), "appProtocol": H2C}]
    return _service(model, name, labels, labels, ports)


def twin_service_manifests(model: Model, target: Target) -> tuple[Manifest, Manifest]:
    """Whom servers ask for comparison: INT8 asks `<name>-float`, float asks `<name>-twin`."""
    return (
        _twin_service(model, names.float_service(model.key.name), target.float_digest),
        _twin_service(model, names.twin_service(model.key.name), target.twin_digest),
    )


def _twin_service(model: Model, name: str, digest: str) -> Manifest:
    labels = model_labels(model)
    # Never an empty selector: that would leave the old endpoints serving.
    selector = {**labels, names.LABEL_DIGEST: names.short(digest) or names.NO_DIGEST}
    return _service(model, name, labels, selector, [_port("twin", TWIN_PORT)])


def _service(model: Model, name: str, labels: dict[str, str], selector: dict[str, str], ports: list[Port]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(model, name, labels),
        "spec": {"type": "ClusterIP", "selector": selector, "ports": ports},
    }


def _port(name: str, port: int) -> Port:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
