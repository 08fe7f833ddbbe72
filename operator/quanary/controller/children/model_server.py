"""Another server of the Open Inference Protocol in a serving pod, that runs the model behind the front: Triton, say.

It is a native sidecar: it starts before the front and is stopped after it, so that the front drains with a model that
still answers. As an ordinary container it would be stopped at the same moment.

It listens on the pod's loopback address alone: nobody goes past the front's counts and limits, and what else it can do
(load models, take shared memory) is for nobody. So the kubelet cannot probe it either, and its image need not hold a
program that could. The front asks it: readiness is the front's own, liveness a page of the front.
"""

from typing import Final

from quanary.api.v1alpha1 import InferenceServer
from quanary.controller.children.manifest import Manifest, Model
from quanary.controller.children.pod import MODELS_MOUNT, TMP_MOUNT, container, foreign_container, resources
from quanary.controller.decision import Running
from quanary.wire.launch import (
    METRICS_PORT,
    MODEL_FILE,
    MODEL_REPOSITORY,
    TERMINATION_LOG,
    UPSTREAM_LIVE_PATH,
    RepositoryArguments,
)

# Where the server may write. The front has a folder of its own: neither reads what the other leaves.
SERVER_TMP: Final = "server-tmp"
# It has no work left when it is told to end.
TRITON_EXIT_SECONDS: Final = 5


def repository(model: Model, running: Running, limits: Manifest) -> Manifest:
    """The init container that writes Triton's model repository beside the fetched file."""
    arguments = RepositoryArguments(
        model=MODEL_FILE,
        name=model.key.name,
        latency_budget_seconds=model.spec.gates.latency.p99.total_seconds(),
        field="spec.model" if running.variant == "float" else "artifact",
        termination_log=TERMINATION_LOG,
    )
    return {
        **container(model, "repository", ["repository", *arguments.render()]),
        # Those of the server: the threads and batches that it finds are for there.
        "resources": limits,
        "volumeMounts": [MODELS_MOUNT, TMP_MOUNT],
    }


def model_server(model: Model, server: InferenceServer, ephemeral_limit: str) -> Manifest:
    """The sidecar."""
    wanted = model.spec.runtime.resources
    return {
        **foreign_container(model, "model", server.image, [*server.args] or triton_arguments(server.port)),
        "restartPolicy": "Always",
        "env": [{"name": "ORT_DISABLE_TELEMETRY", "value": "1"}],
        # A minute: the front itself may be starting anew.
        "livenessProbe": {
            "httpGet": {"path": UPSTREAM_LIVE_PATH, "port": METRICS_PORT, "scheme": "HTTP"},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "resources": resources(wanted, memory_limit=wanted.memory, ephemeral_limit=ephemeral_limit),
        "volumeMounts": [{**MODELS_MOUNT, "readOnly": True}, {**TMP_MOUNT, "name": SERVER_TMP}],
    }


def triton_arguments(port: int) -> list[str]:
    """One model, as its configuration says and not otherwise; no other door than HTTP on the loopback address."""
    return [
        "tritonserver",
        f"--model-repository={MODEL_REPOSITORY}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--allow-gpu-metrics=false",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        # A model that does not load ends the server, and its log says why.
        "--strict-readiness=true",
        "--exit-on-error=true",
        f"--exit-timeout-secs={TRITON_EXIT_SECONDS}",
    ]
