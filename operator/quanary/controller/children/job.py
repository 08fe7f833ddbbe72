"""The quantizer Job of one set of inputs. It holds no credentials of the cluster and admits no connection."""

import re
from typing import Any, Final

from quanary.api import names
from quanary.api.v1alpha1 import Quantization, Validation
from quanary.controller.children.manifest import MANAGED, Manifest, Model, job_labels, metadata
from quanary.controller.children.pod import (
    TMP_LIMIT,
    claim_mounts,
    claim_volumes,
    container,
    empty_dir,
    pod_settings,
    resources,
)
from quanary.wire.launch import TERMINATION_LOG, WORK_DIRECTORY, QuantizeArguments

WORK_LIMIT: Final = "16Gi"
EPHEMERAL_LIMIT: Final = "17Gi"  # above what both volumes may hold, with room for logs
DEADLINE_SECONDS: Final = 2 * 60 * 60
# The rest is for fetching, calibrating, certifying and measuring.
SEARCH_SECONDS: Final = DEADLINE_SECONDS / 2
RETRIES: Final = 2
# Both models, their calibrated copies and a batch of activations are in memory at once.
MEMORY_FACTOR: Final = 4
# The search runs small models in several processes, each with a runtime of its own.
LEAST_MEMORY: Final = "2Gi"
LEAST_MEMORY_KIBIBYTES: Final = 2 << 20
KIBIBYTES: Final = {"Ki": 1, "Mi": 1 << 10, "Gi": 1 << 20}
# What the resource calls a metric -> what the quantizer's command line calls it.
METRICS: Final = {
    "Agreement": "agreement",
    "Accuracy": "accuracy",
    "F1": "f1",
    "F1Binary": "f1_binary",
    "RocAuc": "roc_auc",
    "Mae": "mae",
    "Rmse": "rmse",
    "Cosine": "cosine",
    "RecallAtK": "recall@{k}",
    "Wer": "wer",
    "Cer": "cer",
}


def job_manifest(model: Model, openings: tuple[str, ...] = ()) -> Manifest:
    """Immutable once it exists, hence named after its inputs. No TTL: it stays until its result is in the status.

    `openings` are earlier ones of sealed data, as JSON: they make the certificate stricter, not another one.
    """
    labels = job_labels(model)
    inputs = {names.ANNOTATION_INPUTS: model.inputs}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(model, names.job_name(model.key.name, model.inputs), labels, inputs),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {"metadata": {"labels": {**labels, **MANAGED}}, "spec": _pod(model, openings)},
        },
    }


def _pod(model: Model, openings: tuple[str, ...]) -> Manifest:
    arguments = _arguments(model, openings)
    uris = (arguments.model, arguments.calibration, arguments.validation, arguments.provided)
    quantizer = {
        **container(model, "quantizer", ["quantize", *arguments.render()]),
        # The same CPU limit as a serving pod, so that the benefit it measures is the one that users get.
        "resources": resources(
            model.spec.runtime.resources, memory_limit=_memory_limit(model), ephemeral_limit=EPHEMERAL_LIMIT
        ),
        "volumeMounts": [
            {"name": "work", "mountPath": WORK_DIRECTORY},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            *claim_mounts(uris),
        ],
    }
    return {
        **pod_settings(model),
        "restartPolicy": "Never",
        "containers": [quantizer],
        "volumes": [empty_dir("work", WORK_LIMIT), empty_dir("tmp", TMP_LIMIT), *claim_volumes(uris)],
    }


def _arguments(model: Model, openings: tuple[str, ...]) -> QuantizeArguments:
    spec = model.spec
    is_provided = spec.quantization.strategy == "Provided"
    return QuantizeArguments(
        model=spec.model.uri,
        model_sha256=spec.model.sha256,
        validation=spec.validation.data.uri,
        validation_sha256=spec.validation.data.sha256,
        metric=metric_argument(spec.validation),
        max_drop=spec.validation.max_drop,
        confidence=spec.validation.confidence,
        strategy=spec.quantization.strategy.lower(),
        **(_provided(spec.quantization) if is_provided else _making(spec.quantization)),
        min_speedup=spec.benefit.min_speedup,
        min_size_reduction=spec.benefit.min_size_reduction,
        out=WORK_DIRECTORY,
        seal_opening=openings,
        publish=spec.artifacts.repository,
        inputs=model.inputs,
        insecure_host=model.settings.insecure_hosts,
        termination_log=TERMINATION_LOG,
    )


def metric_argument(validation: Validation) -> str:
    """The metric as the quantizer calls it: `roc_auc` for RocAuc, `recall@5` for RecallAtK with k = 5."""
    return METRICS[validation.metric].format(k=validation.k)


def _provided(quantization: Quantization) -> dict[str, Any]:
    source = quantization.provided
    return {"provided": source.uri, "provided_sha256": source.sha256} if source else {}


def _making(quantization: Quantization) -> dict[str, Any]:
    """How an artifact is searched for; a provided one is judged as it is."""
    calibration = quantization.calibration
    learning = (
        {
            "calibration": calibration.data.uri,
            "calibration_sha256": calibration.data.sha256,
            "samples": calibration.samples,
            "method": calibration.method.lower(),
        }
        if calibration
        else {}
    )
    return learning | {
        "activations": quantization.activations.lower(),
        "granularity": quantization.granularity.lower(),
        "objective": quantization.objective.lower(),
        "max_evaluations": quantization.max_evaluations,
        "search_seconds": SEARCH_SECONDS,
        "full_range": quantization.weights == "FullRange",
        "keep_float": quantization.keep_float,
    }


def _memory_limit(model: Model) -> str:
    number, unit = re.split(r"(?=[KMG]i$)", model.spec.runtime.resources.memory)
    wanted = int(number) * MEMORY_FACTOR
    return f"{wanted}{unit}" if wanted * KIBIBYTES[unit] > LEAST_MEMORY_KIBIBYTES else LEAST_MEMORY
