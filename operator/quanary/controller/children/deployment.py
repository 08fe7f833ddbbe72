"""The Deployment of one variant: an init container fetches and verifies the model, a server answers for it."""

from dataclasses import replace
from typing import Any, Final

from quanary.api import names
from quanary.controller.children.manifest import MANAGED, Manifest, Model, metadata, variant_labels
from quanary.controller.children.model_server import SERVER_TMP, model_server, repository
from quanary.controller.children.pod import (
    MODELS_MOUNT,
    TMP_LIMIT,
    TMP_MOUNT,
    claim_mounts,
    claim_volumes,
    container,
    empty_dir,
    pod_settings,
    resources,
)
from quanary.controller.decision import Running
from quanary.wire.launch import (
    GRPC_PORT,
    HTTP_PORT,
    METRICS_PORT,
    MODEL_FILE,
    MODEL_REPORT,
    SPOOL_DIRECTORY,
    TERMINATION_LOG,
    TWIN_PORT,
    FetchArguments,
    ServeArguments,
)

MODELS_LIMIT: Final = "4Gi"
EPHEMERAL_LIMIT: Final = "5Gi"  # above what all volumes may hold, with room for logs
SPOOL_LIMIT: Final = "384Mi"  # half as much again as SPOOL_BYTES_LIMIT, for what is being written
# For the histograms that people look at; the gates have a scrape job of their own.
SCRAPED: Final = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)}


def deployment_manifest(model: Model, running: Running) -> Manifest:
    """Pods of one variant of one digest. The selector is immutable, so it names nothing that may change."""
    labels = variant_labels(model, running.variant, running.digest)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(model, names.variant_name(model.key.name, running.variant, running.digest), labels),
        "spec": {
            "replicas": model.spec.runtime.replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {**labels, **MANAGED}, "annotations": SCRAPED},
                "spec": pod_spec(model, running),
            },
        },
    }


def pod_spec(model: Model, running: Running) -> Manifest:
    """What a pod of one variant is made of."""
    return {
        **pod_settings(model),
        # Longer than the server's own drain.
        "terminationGracePeriodSeconds": 30,
        "initContainers": [_fetch(model, running), *_upstream(model, running)],
        "containers": [_server(model, running)],
        "volumes": [
            empty_dir("models", MODELS_LIMIT),
            empty_dir("tmp", TMP_LIMIT),
            *([empty_dir(SERVER_TMP, TMP_LIMIT)] if model.spec.runtime.server else []),
            *_spool_volumes(model, running),
            *claim_volumes([running.uri]),
        ],
    }


def _fetch(model: Model, running: Running) -> Manifest:
    arguments = FetchArguments(
        uri=running.uri,
        sha256=running.digest,
        out=MODEL_FILE,
        report_out=MODEL_REPORT if running.variant == "int8" and running.uri.startswith("oci://") else "",
        field="spec.model" if running.variant == "float" else "artifact",
        insecure_host=model.settings.insecure_hosts,
        termination_log=TERMINATION_LOG,
    )
    return {
        **container(model, "fetch", ["fetch", *arguments.render()]),
        "resources": _resources(model),
        "volumeMounts": [MODELS_MOUNT, TMP_MOUNT, *claim_mounts([running.uri])],
    }


def _upstream(model: Model, running: Running) -> list[Manifest]:
    server = model.spec.runtime.server
    if server is None:
        return []
    return [repository(model, running, _resources(model)), model_server(model, server, EPHEMERAL_LIMIT)]


def _server(model: Model, running: Running) -> Manifest:
    return {
        **container(model, "server", ["serve", *_serve_arguments(model, running).render()]),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
            {"name": "twin", "containerPort": TWIN_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        # Up to 10 minutes to load a large model before liveness counts.
        "startupProbe": _probe("/v2/health/live", period_seconds=1, failures=600),
        "readinessProbe": _probe("/v2/health/ready", period_seconds=1, failures=2),
        "livenessProbe": _probe("/v2/health/live", period_seconds=10, failures=3),
        "resources": _server_resources(model),
        "volumeMounts": [{**MODELS_MOUNT, "readOnly": True}, TMP_MOUNT, *_spool_mounts(model, running)],
    }


def _serve_arguments(model: Model, running: Running) -> ServeArguments:
    header = model.spec.critical.header
    ask = names.float_service if running.variant == "int8" else names.twin_service
    certified_on = ",".join(running.cpu_features)
    divergence = model.spec.gates.divergence
    arguments = ServeArguments(
        model=MODEL_FILE,
        name=model.key.name,
        host="0.0.0.0",  # noqa: S104 - a pod's own address
        grpc_port=GRPC_PORT,
        twin_port=TWIN_PORT,
        variant=running.variant,
        digest=running.digest,
        twin_url=f"http://{ask(model.key.name)}.{model.key.namespace}.svc:{TWIN_PORT}",
        sample_ratio=model.spec.rollout.shadow.ratio,
        latency_budget_seconds=model.spec.gates.latency.p99.total_seconds(),
        critical_header=f"{header.name}={header.value}",
        critical_path=model.spec.critical.path,
        divergence=divergence.measure.lower(),
        divergence_limit=divergence.limit,
        divergence_output=divergence.output,
        upstream=_upstream_url(model),
        core_watts=model.settings.core_watts,
        core_hour_price=model.settings.core_hour_price,
        cpu_features="" if running.portable else certified_on,
        certified_on=certified_on,
        termination_log=TERMINATION_LOG,
    )
    return replace(arguments, report=MODEL_REPORT, **_escalation(model)) if running.variant == "int8" else arguments


def _upstream_url(model: Model) -> str:
    server = model.spec.runtime.server
    return f"http://127.0.0.1:{server.port}" if server else ""


def _escalation(model: Model) -> dict[str, Any]:
    wanted = model.spec.escalation
    if wanted is None:
        return {}
    return {
        "escalate_below": wanted.below,
        "escalate_by": wanted.confidence.lower(),
        "escalate_output": wanted.output,
        "escalate_to": wanted.to.lower(),
        "escalation_budget": wanted.budget,
        "review_sink": wanted.sink,
        "review_spool": SPOOL_DIRECTORY if wanted.to == "Review" else "",
    }


def _is_reviewed(model: Model, running: Running) -> bool:
    wanted = model.spec.escalation
    return running.variant == "int8" and wanted is not None and wanted.to == "Review"


def _spool_volumes(model: Model, running: Running) -> list[Manifest]:
    """Of the pod: what waits there survives its containers, and ends with it."""
    return [empty_dir("spool", SPOOL_LIMIT)] if _is_reviewed(model, running) else []


def _spool_mounts(model: Model, running: Running) -> list[Manifest]:
    return [{"name": "spool", "mountPath": SPOOL_DIRECTORY}] if _is_reviewed(model, running) else []


def _probe(path: str, *, period_seconds: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 1,
        "failureThreshold": failures,
    }


def _resources(model: Model) -> Manifest:
    wanted = model.spec.runtime.resources
    return resources(wanted, memory_limit=wanted.memory, ephemeral_limit=EPHEMERAL_LIMIT)


def _server_resources(model: Model) -> Manifest:
    """Of what runs the model, or of the front before it."""
    server = model.spec.runtime.server
    if server is None:
        return _resources(model)
    return resources(server.front, memory_limit=server.front.memory, ephemeral_limit=EPHEMERAL_LIMIT)
