from typing import Any

import pytest

from quanary.controller.children.inputs import inputs_digest
from tests.controller.models import SPEC, spec


def test_the_digest_is_the_same_on_every_machine() -> None:
    assert inputs_digest(spec()) == "b70b59e0bfa46c4b36e62108aec82ecd9c80057587af253fe72b13b495000d4f"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": {"uri": "https://models.example.com/digits.onnx", "sha256": "9" * 64}}, id="model"),
        pytest.param({"benefit": {"minSpeedup": 1.3}}, id="benefit"),
        pytest.param({"benefit": {"minSizeReduction": 0.5}}, id="size"),
        pytest.param({"runtime": {"resources": {"cpu": "2"}}}, id="cpu"),
        pytest.param({"runtime": {"nodeSelector": {"disk": "ssd"}}}, id="nodes"),
    ],
)
def test_what_an_artifact_is_made_from_changes_the_digest(change: dict[str, Any]) -> None:
    assert inputs_digest(spec(**change)) != inputs_digest(spec())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "Static"),
        ("activations", "UInt16"),
        ("granularity", "PerTensor"),
        ("objective", "Size"),
        ("weights", "FullRange"),
        ("maxEvaluations", 10),
        ("keepFloat", ["/head/*"]),
        ("calibration", SPEC["quantization"]["calibration"] | {"method": "Entropy"}),
        ("calibration", SPEC["quantization"]["calibration"] | {"samples": 8}),
    ],
)
def test_every_way_to_make_it_changes_the_digest(field: str, value: Any) -> None:
    assert inputs_digest(spec(quantization=SPEC["quantization"] | {field: value})) != inputs_digest(spec())


@pytest.mark.parametrize("change", [{"metric": "RecallAtK"}, {"metric": "RecallAtK", "k": 5}, {"maxDrop": 0.02}])
def test_every_way_to_judge_it_changes_the_digest(change: dict[str, Any]) -> None:
    digests = {inputs_digest(spec()), inputs_digest(spec(validation=SPEC["validation"] | {"metric": "RecallAtK"}))}
    changed = inputs_digest(spec(validation=SPEC["validation"] | change))
    assert changed not in digests or change == {"metric": "RecallAtK"}
    assert changed != inputs_digest(spec())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"gates": {"mismatch": 0.1}}, id="budgets"),
        pytest.param({"rollout": {"steps": [50, 100]}}, id="steps"),
        pytest.param({"runtime": {"replicas": 5, "image": "registry.example.com/newer:2"}}, id="replicas and tools"),
        pytest.param({"benefit": {"minSpeedup": 1.1}}, id="a default spelled out"),
        pytest.param({"benefit": {"required": False, "accept": ["SizeOnly"]}}, id="accepted verdicts"),
        pytest.param({"rollback": {"to": "SaferArtifact"}}, id="rollback"),
    ],
)
def test_what_only_serves_does_not(change: dict[str, Any]) -> None:
    assert inputs_digest(spec(**change)) == inputs_digest(spec())
