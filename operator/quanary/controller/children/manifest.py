"""What all children share: who owns them, how they are labelled, what a set of them is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quanary.api import names
from quanary.api.names import Variant
from quanary.api.v1alpha1 import QuantizedModelSpec
from quanary.controller.decision import ModelKey
from quanary.controller.settings import Settings

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """The QuantizedModel that is built for."""

    key: ModelKey
    uid: str
    spec: QuantizedModelSpec
    settings: Settings
    inputs: str  # digest of what the wanted artifact is made from

    @property
    def image(self) -> str:
        """The runtime image of servers and quantizer."""
        return self.spec.runtime.image or self.settings.runtime_image


@dataclass(frozen=True)
class Manifests:
    """Children that should exist, by kind. `route` is None to leave the route as it is."""

    policies: tuple[Manifest, ...]
    services: tuple[Manifest, ...]
    deployments: tuple[Manifest, ...]
    job: Manifest | None
    route: Manifest | None

    def __iter__(self) -> Iterator[Manifest]:
        """Every manifest, in the order of creation."""
        yield from (*self.policies, *self.services, *self.deployments)
        yield from (manifest for manifest in (self.job, self.route) if manifest)


MANAGED: Final = {names.LABEL_MANAGED_BY: names.MANAGED_BY}


def metadata(
    model: Model, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Metadata of a child. Nothing of the resource's own labels and annotations: GitOps tools prune by them."""
    written: Manifest = {
        "name": name,
        "namespace": model.key.namespace,
        "labels": {**labels, **MANAGED},
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": model.key.name,
                "uid": model.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    return {**written, "annotations": dict(annotations)} if annotations else written


def model_labels(model: Model) -> dict[str, str]:
    """Labels that name the model."""
    return {names.LABEL_MODEL: model.key.name}


def variant_labels(model: Model, variant: Variant, digest: str) -> dict[str, str]:
    """Labels that name one variant of one digest: the selector of its pods."""
    return {**model_labels(model), names.LABEL_VARIANT: variant, names.LABEL_DIGEST: names.short(digest)}


def job_labels(model: Model) -> dict[str, str]:
    """Labels of the quantizer, which is no server of the model."""
    return {names.LABEL_JOB_OF: model.key.name}
