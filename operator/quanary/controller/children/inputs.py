"""Identity of what an artifact is made from: the part of the spec that, when it changes, asks for a new one."""

import hashlib
import json

from quanary.api.v1alpha1 import QuantizedModelSpec


def inputs_digest(spec: QuantizedModelSpec) -> str:
    """sha256 of the canonical JSON of model, quantization, validation, benefit and scheduling.

    Fields at their default are left out, so that a field added by an upgrade does not quantize a fleet anew.
    """
    inputs = {
        **spec.model_dump(
            mode="json",
            by_alias=True,
            exclude_defaults=True,
            include={"model", "quantization", "validation", "benefit"},
        ),
        # These decide which machine the benefit is measured on.
        "cpu": spec.runtime.resources.cpu,
        "nodeSelector": spec.runtime.node_selector,
    }
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
