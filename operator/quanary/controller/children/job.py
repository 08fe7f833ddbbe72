"""The quantizer Job of one set of inputs. It holds no credentials of the cluster and admits no connection."""

import re
from typing import Final

from quanary.api import names
from quanary.controller.children.manifest import MANAGED, Manifest, Model, job_labels, metadata
from quanary.controller.children.pod import TMP_LIMIT, container, empty_dir, pod_settings, resources
from quanary.wire.launch import TERMINATION_LOG, WORK_DIRECTORY, QuantizeArguments

WORK_LIMIT: Final = "16Gi"
EPHEMERAL_LIMIT: Final = "17Gi"  # above what both volumes may hold, with room for logs
DEADLINE_SECONDS: Final = 2 * 60 * 60
RETRIES: Final = 2
# Both models, their calibrated copies and a batch of activations are in memory at once.
MEMORY_FACTOR: Final = 4


def job_manifest(model: Model) -> Manifest:
    """Immutable once it exists, hence named after its inputs. No TTL: it stays until its result is in the status."""
    labels = job_labels(model)
    inputs = {names.ANNOTATION_INPUTS: model.inputs}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(model, names.job_name(model.key.name, model.inputs), labels, inputs),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {"metadata": {"labels": {**labels, **MANAGED}}, "spec": _pod(model)},
        },
    }


def _pod(model: Model) -> Manifest:
    quantizer = {
        **container(model, "quantizer", ["quantize", *_arguments(model).render()]),
        # The same CPU limit as a serving pod, so that the benefit it measures is the one that users get.
        "resources": resources(model, memory_limit=_memory_limit(model), ephemeral_limit=EPHEMERAL_LIMIT),
        "volumeMounts": [
            {"name": "work", "mountPath": WORK_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }
    return {
        **pod_settings(model),
        "restartPolicy": "Never",
        "containers": [quantizer],
        "volumes": [empty_dir("work", WORK_LIMIT), empty_dir("tmp", TMP_LIMIT)],
    }


def _arguments(model: Model) -> QuantizeArguments:
    spec = model.spec
    calibration, provided = spec.quantization.calibration, spec.quantization.provided
    is_provided = spec.quantization.strategy == "Provided"
    return QuantizeArguments(
        model=spec.model.uri,
        model_sha256=spec.model.sha256,
        validation=spec.validation.data.uri,
        validation_sha256=spec.validation.data.sha256,
        metric=spec.validation.metric.lower(),
        max_drop=spec.validation.max_drop,
        confidence=spec.validation.confidence,
        calibration=calibration.data.uri if calibration and not is_provided else "",
        calibration_sha256=calibration.data.sha256 if calibration and not is_provided else "",
        samples=calibration.samples if calibration and not is_provided else 512,
        provided=provided.uri if provided and is_provided else "",
        provided_sha256=provided.sha256 if provided and is_provided else "",
        keep_float=spec.quantization.keep_float,
        min_speedup=spec.benefit.min_speedup,
        out=WORK_DIRECTORY,
        publish=spec.artifacts.repository,
        inputs=model.inputs,
        insecure_host=model.settings.insecure_hosts,
        termination_log=TERMINATION_LOG,
    )


def _memory_limit(model: Model) -> str:
    number, unit = re.split(r"(?=[KMG]i$)", model.spec.runtime.resources.memory)
    return f"{int(number) * MEMORY_FACTOR}{unit}"
