"""Golden files a person could `kubectl apply`. Written anew with QUANARY_WRITE_GOLDEN=1."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from quanary.api.v1alpha1 import SealOpening
from quanary.controller.children import Manifests, build
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.decision import Running, Target
from tests.controller.models import FLOAT, FLOAT_ALONE, INT8_RUNNING, KEY, SETTINGS, UID, built, canary, spec

GOLDEN = Path(__file__).parent / "golden"

RICH: dict[str, Any] = {
    "runtime": {
        "replicas": 3,
        "resources": {"cpu": "2", "memory": "1Gi"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "inference", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "critical": {"header": {"name": "x-priority", "value": "high"}, "path": "/critical"},
    "route": {
        "parentRefs": [{"name": "public", "sectionName": "http"}],
        "hostnames": ["digits.example.com"],
        "path": "/d",
    },
}

# Bound to one kind of CPU, with model and data in claims, and sealed data that were opened before.
PINNED: dict[str, Any] = {
    "model": {"uri": "pvc://models/digits/v3.onnx", "sha256": FLOAT},
    "quantization": {
        "strategy": "Auto",
        "weights": "FullRange",
        "objective": "Size",
        "maxEvaluations": 40,
        "keepFloat": ["/head/*"],
        "calibration": {"data": {"uri": "pvc://data/calibration.parquet", "sha256": "1" * 64}, "method": "Entropy"},
    },
    "validation": {
        "data": {"uri": "s3://digits-sealed/2026.tar", "sha256": "2" * 64},
        "metric": "RecallAtK",
        "k": 5,
    },
    "benefit": {"minSizeReduction": 0.5, "accept": ["SizeOnly"]},
    "runtime": {"nodeSelector": {"cpu.example.com/vnni": "true"}},
}
OPENED = (SealOpening(data="2" * 64, number=1, artifacts=("9" * 64,)),)
ON_CLAIM = Running("float", FLOAT, "pvc://models/digits/v3.onnx")
ON_ONE_CPU = replace(INT8_RUNNING, cpu_features=("avx2", "avx512_vnni", "avx512f"), portable=False)


def pinned() -> Manifests:
    wanted = spec(**PINNED)
    target = canary(50, running=(ON_CLAIM, ON_ONE_CPU), quantize=True)
    return build(KEY, UID, wanted, SETTINGS, target, inputs_digest(wanted), OPENED)


# Both variants by Triton behind the front.
TRITON: dict[str, Any] = {
    "runtime": {
        "type": "Triton",
        "server": {"image": f"registry.example.com/tritonserver@sha256:{'d' * 64}"},
        "resources": {"cpu": "2", "memory": "1Gi"},
    },
}

CASES: dict[str, Manifests] = {
    "float_alone": built(FLOAT_ALONE),
    "quantizing": built(replace(FLOAT_ALONE, quantize=True)),
    "shadow": built(canary(0)),
    "canary": built(canary(50), spec(**RICH)),
    "pinned": pinned(),
    "triton": built(canary(0), spec(**TRITON)),
}


@pytest.mark.parametrize("name", CASES)
def test_manifests_are_the_golden_ones(name: str) -> None:
    text = yaml.safe_dump_all([_plain(each) for each in CASES[name]], sort_keys=False)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("QUANARY_WRITE_GOLDEN"):
        path.write_text(text)
    assert list(yaml.safe_load_all(path.read_text())) == list(yaml.safe_load_all(text))


def test_a_target_without_shares_leaves_the_route_alone() -> None:
    manifests = built(Target(running=FLOAT_ALONE.running, float_digest=FLOAT_ALONE.float_digest))
    assert manifests.route is None
    assert manifests.deployments


def _plain(value: Any) -> Any:
    # No anchors: labels that are one dict in Python are spelled out for the reader.
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
