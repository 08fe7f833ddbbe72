"""Every example is a resource that the models accept; what the demo applies differs in registry and digests alone."""

import pytest

from e2e.demo import examples
from quanary.api.v1alpha1 import QuantizedModelSpec

NAMES = sorted(path.stem for path in examples.FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_example_is_a_valid_resource(name: str) -> None:
    manifest = examples.load(name)
    assert manifest["apiVersion"] == "quanary.dev/v1alpha1"
    assert manifest["kind"] == "QuantizedModel"
    assert manifest["metadata"]["name"] == name
    spec = QuantizedModelSpec.model_validate(manifest["spec"])
    assert spec.gates.mismatch == 0.05


def test_every_example_is_found() -> None:
    assert NAMES == [
        "magika",
        "magika-narrow",
        "magika-provided-defaults",
        "silero-vad",
        "silero-vad-auto",
        "silero-vad-triton",
    ]


def test_rendering_replaces_registry_and_digests_alone() -> None:
    manifest = examples.load("magika")
    digests = {"magika:model": "a" * 64, "magika:calibration": "b" * 64, "magika:validation": "c" * 64}
    rendered = examples.render(manifest, digests, "localhost:5000")
    assert rendered["spec"]["model"] == {"uri": "oci://localhost:5000/demo/magika:model", "sha256": "a" * 64}
    assert rendered["spec"]["quantization"]["calibration"]["data"]["sha256"] == "b" * 64
    assert rendered["spec"]["validation"]["data"]["sha256"] == "c" * 64
    assert rendered["spec"]["artifacts"]["repository"] == "oci://localhost:5000/demo/magika-int8"
    assert rendered["spec"]["rollout"] == manifest["spec"]["rollout"]
    assert rendered["spec"]["route"] == manifest["spec"]["route"]


def test_rendering_without_a_digest_fails() -> None:
    with pytest.raises(KeyError, match="magika:model"):
        examples.render(examples.load("magika"), {}, "localhost:5000")


def test_faulty_model_is_served_by_the_test_image_and_stays_at_half_the_traffic() -> None:
    manifest = examples.faulty(examples.load("silero-vad"), "errors", "quanary/test-runtime:dev")
    spec = QuantizedModelSpec.model_validate(manifest["spec"])
    assert manifest["metadata"]["name"] == "silero-vad-errors"
    assert spec.runtime.image == "quanary/test-runtime:dev"
    assert spec.rollout.steps == (50, 100)
    assert spec.artifacts.repository.endswith("/silero-vad-errors")
    assert spec.model == QuantizedModelSpec.model_validate(examples.load("silero-vad")["spec"]).model
