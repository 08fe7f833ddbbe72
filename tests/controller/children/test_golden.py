"""Golden files a person could `kubectl apply`. Written anew with QUANARY_WRITE_GOLDEN=1."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from quanary.controller.children import Manifests
from quanary.controller.decision import Target
from tests.controller.models import FLOAT_ALONE, built, canary, spec

GOLDEN = Path(__file__).parent / "golden"

RICH: dict[str, Any] = {
    "runtime": {
        "replicas": 3,
        "resources": {"cpu": "2", "memory": "1Gi"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "inference", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "critical": {"header": {"name": "x-priority", "value": "high"}},
    "route": {
        "parentRefs": [{"name": "public", "sectionName": "http"}],
        "hostnames": ["digits.example.com"],
        "path": "/d",
    },
}

CASES: dict[str, Manifests] = {
    "float_alone": built(FLOAT_ALONE),
    "quantizing": built(replace(FLOAT_ALONE, quantize=True)),
    "shadow": built(canary(0)),
    "canary": built(canary(50), spec(**RICH)),
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
