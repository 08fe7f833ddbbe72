"""Manifests of everything that should exist for one model. Pure: a `Target` in, plain dicts out.

Building never looks at the cluster; what to write, when and in which order is the business of `apply`.
"""

from quanary.api.v1alpha1 import QuantizedModelSpec, SealOpening
from quanary.controller.children.deployment import deployment_manifest
from quanary.controller.children.job import job_manifest
from quanary.controller.children.manifest import Manifest, Manifests, Model
from quanary.controller.children.network_policy import network_policy_manifests
from quanary.controller.children.route import route_manifest
from quanary.controller.children.service import twin_service_manifests, variant_service_manifest
from quanary.controller.decision import ModelKey, Target
from quanary.controller.seal import earlier_openings
from quanary.controller.settings import Settings


def build(  # noqa: PLR0913, PLR0917 - the model, its settings, and what should become of it
    key: ModelKey,
    uid: str,
    spec: QuantizedModelSpec,
    settings: Settings,
    target: Target,
    inputs: str,
    seal: tuple[SealOpening, ...] = (),
) -> Manifests:
    """What should exist for `target`; `inputs` is `inputs_digest(spec)`, `seal` the ledger of sealed data.

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
        job=job_manifest(model, earlier_openings(seal)) if target.quantize else None,
        route=route_manifest(model, target) if target.shares else None,
    )


__all__ = ["Manifest", "Manifests", "Model", "build"]
