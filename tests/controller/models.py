"""One QuantizedModel as the tests of the controller need it."""

from typing import Any

from quanary.api.v1alpha1 import QuantizedModelSpec
from quanary.controller.children import Manifests, build
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.decision import ModelKey, Running, Share, Target
from quanary.controller.settings import Settings

KEY = ModelKey("vision", "digits")
UID = "6f1c0f6e-0000-4000-8000-000000000001"
FLOAT = "f" * 64
INT8 = "a" * 64
FLOAT_RUNNING = Running("float", FLOAT, "https://models.example.com/digits.onnx")
INT8_RUNNING = Running("int8", INT8, f"oci://registry.example.com/digits@sha256:{'b' * 64}")
SETTINGS = Settings(runtime_image="registry.example.com/quanary/runtime@sha256:" + "c" * 64)

SPEC: dict[str, Any] = {
    "model": {"uri": "https://models.example.com/digits.onnx", "sha256": FLOAT},
    "artifacts": {"repository": "oci://registry.example.com/digits"},
    "quantization": {
        "calibration": {"data": {"uri": "https://models.example.com/calibration.tar", "sha256": "1" * 64}},
    },
    "validation": {"data": {"uri": "https://models.example.com/sealed.tar", "sha256": "2" * 64}},
    "route": {"parentRefs": [{"name": "public", "namespace": "gateways"}]},
}


def spec(**changes: Any) -> QuantizedModelSpec:
    """The spec with top-level fields replaced."""
    return QuantizedModelSpec.model_validate(SPEC | changes)


def canary(int8: int, **changes: Any) -> Target:
    """Both variants run; INT8 gets `int8` thousandths."""
    target: dict[str, Any] = {
        "running": (FLOAT_RUNNING, INT8_RUNNING),
        "shares": (Share("float", FLOAT, 1000 - int8), Share("int8", INT8, int8)),
        "float_digest": FLOAT,
        "twin_digest": INT8,
    }
    return Target(**(target | changes))


FLOAT_ALONE = Target(running=(FLOAT_RUNNING,), shares=(Share("float", FLOAT, 1000),), float_digest=FLOAT)


def built(target: Target, spec_: QuantizedModelSpec | None = None, uid: str = UID) -> Manifests:
    """Manifests of `target`."""
    wanted = spec_ or spec()
    return build(KEY, uid, wanted, SETTINGS, target, inputs_digest(wanted))
