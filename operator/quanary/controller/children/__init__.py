"""Manifests of everything that should exist for one model. Pure: a `Target` in, plain dicts out.

Building never looks at the cluster; what to write, when and in which order is the business of `apply`.
"""

from quanary.api.v1alpha1 import QuantizedModelSpec
from quanary.controller.children.deployment import deployment_manifest
from quanary.controller.children.job import job_manifest
from quanary.controller.children.manifest import Manifest, Manifests, Model
from quanary.controller.children.network_policy import network_policy_manifests
from quanary.controller.children.route import route_manifest
from quanary.controller.children.service import twin_service_manifests, variant_service_manifest
from quanary.controller.decision import ModelKey, Target
from quanary.controller.settings import Settings


def build(
    key: ModelKey, uid: str, spec: QuantizedModelSpec, settings: Settings, target: Target, inputs: str
) -> Manifests:
    """What should exist for `target`; `inputs` is `inputs_digest(spec)`.

    Raises:
        ValueError: the target asks for weight on a variant it does not run, or for weights that do not sum to 1000.
    """
    model = Model(key=key, uid=uid, spec=spec, settings=settings, inputs=inputs)
    return Manifests(
        policies=network_policy_manifests(model),
        services=(
            *(variant_service_manifest(model, running) for running in target.running),
            *twin_service_manifests(model, target),
        ),
        deployments=tuple(deployment_manifest(model, running) for running in target.running),
        job=job_manifest(model) if target.quantize else None,
        route=route_manifest(model, target) if target.shares else None,
    )


__all__ = ["Manifest", "Manifests", "Model", "build"]
