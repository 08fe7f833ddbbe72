"""Who may speak to the pods of a model. Twin traffic is not for users: it would let them hide from the gates."""

from quanary.controller.children.manifest import Manifest, Model, job_labels, metadata, model_labels
from quanary.wire.launch import GRPC_PORT, HTTP_PORT, METRICS_PORT, TWIN_PORT


def network_policy_manifests(model: Model) -> tuple[Manifest, Manifest]:
    """One for the servers, one for the quantizer."""
    return _servers(model), _quantizer(model)


def _servers(model: Model) -> Manifest:
    labels = model_labels(model)
    ingress = [
        {"ports": [_port(HTTP_PORT), _port(GRPC_PORT), _port(METRICS_PORT)]},
        {"from": [{"podSelector": {"matchLabels": labels}}], "ports": [_port(TWIN_PORT)]},
    ]
    return _policy(model, model.key.name, labels, ingress)


def _quantizer(model: Model) -> Manifest:
    return _policy(model, f"{model.key.name}-quantize", job_labels(model), ingress=[])


def _policy(model: Model, name: str, labels: dict[str, str], ingress: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(model, name, labels),
        "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _port(port: int) -> Manifest:
    return {"port": port, "protocol": "TCP"}
