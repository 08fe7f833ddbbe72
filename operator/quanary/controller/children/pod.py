"""What the pods of servers and of the quantizer share: where they may run, and how little they may do."""

from collections.abc import Iterable
from typing import Final

from quanary.api.v1alpha1 import Resources
from quanary.controller.children.manifest import Manifest, Model
from quanary.wire.launch import CLAIMS_DIRECTORY, MODEL_DIRECTORY, TERMINATION_LOG

USER: Final = 65532
CLAIM_SCHEME: Final = "pvc://"
TMP_LIMIT: Final = "64Mi"
MODELS_MOUNT: Final = {"name": "models", "mountPath": MODEL_DIRECTORY}
TMP_MOUNT: Final = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own
# A request, so that small nodes admit the pod; the limit follows what its volumes may hold.
EPHEMERAL_REQUEST: Final = "128Mi"

# What the `restricted` Pod Security standard asks of a container, and a read-only root beside it.
CONTAINER_SECURITY: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_settings(model: Model) -> Manifest:
    """The part of a pod spec that is the same for every pod of the model."""
    runtime = model.spec.runtime
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if runtime.node_selector:
        pod["nodeSelector"] = dict(runtime.node_selector)
    if runtime.tolerations:
        pod["tolerations"] = [
            {field: value for field, value in each.model_dump(mode="json").items() if value}
            for each in runtime.tolerations
        ]
    return pod


def container(model: Model, name: str, words: list[str]) -> Manifest:
    """One container of the runtime image, whose entry point is the command `quanary`."""
    return foreign_container(model, name, model.image, words)


def foreign_container(model: Model, name: str, image: str, words: list[str]) -> Manifest:
    """One container of any image, that may do no more than ours."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": model.settings.image_pull_policy,
        "args": words,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": TERMINATION_LOG,
        # A container that dies without a word is explained by the end of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def resources(wanted: Resources, *, memory_limit: str, ephemeral_limit: str) -> Manifest:
    """CPU request = limit in every pod of the model, so that figures of one pod hold for another."""
    return {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory, "ephemeral-storage": EPHEMERAL_REQUEST},
        "limits": {"cpu": wanted.cpu, "memory": memory_limit, "ephemeral-storage": ephemeral_limit},
    }


def empty_dir(name: str, size_limit: str) -> Manifest:
    """A volume of the pod's own."""
    return {"name": name, "emptyDir": {"sizeLimit": size_limit}}


def claim_volumes(uris: Iterable[str]) -> list[Manifest]:
    """A volume for each claim that a `pvc://claim/path` among `uris` names."""
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for name, claim in _claims(uris).items()
    ]


def claim_mounts(uris: Iterable[str]) -> list[Manifest]:
    """Where a container finds them, read-only."""
    return [
        {"name": name, "mountPath": f"{CLAIMS_DIRECTORY}/{claim}", "readOnly": True}
        for name, claim in _claims(uris).items()
    ]


def _claims(uris: Iterable[str]) -> dict[str, str]:
    # By number: a claim's name may be longer than a volume's.
    found = sorted({uri.removeprefix(CLAIM_SCHEME).partition("/")[0] for uri in uris if uri.startswith(CLAIM_SCHEME)})
    return {f"claim-{number}": claim for number, claim in enumerate(found)}
