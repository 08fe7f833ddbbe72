"""Identity of what an artifact is made from: the part of the spec that, when it changes, asks for a new one."""

import hashlib
import json

from quanary.api.v1alpha1 import QuantizedModelSpec


def inputs_digest(spec: QuantizedModelSpec) -> str:
    """sha256 of the canonical JSON of all that shapes the artifact and its judgement, and of nothing else.

    Fields at their default are left out, so that a field added by an upgrade does not quantize a fleet anew.
    """
    said = spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,
        # What `benefit` accepts is asked of the verdict, whenever it was given.
        include={
            "model": True,
            "quantization": True,
            "validation": True,
            "benefit": {"min_speedup", "min_size_reduction"},
        },
    )
    inputs = {
        **{field: value for field, value in said.items() if value},
        # These decide which machine the benefit is measured on.
        "cpu": spec.runtime.resources.cpu,
        "nodeSelector": spec.runtime.node_selector,
    }
    canonical = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
