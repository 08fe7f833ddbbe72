import json

import pytest

from quanary.api.v1alpha1 import Signoff, Verdict
from quanary.wire.report import (
    HANDOVER_LIMIT_BYTES,
    TEXT_LIMIT,
    ArtifactFigures,
    Handover,
    ModelIdentity,
    Refusal,
    RefusedError,
    clip,
)

SIGNOFF = Signoff.model_validate(
    {
        "metric": "accuracy",
        "float": 0.9411764705882353,
        "int8": 0.9401709401709402,
        "drop": 0.0010055304172951233,
        "dropUpperBound": 0.004123456789012345,
        "samples": 100_000_000,
        "disagreement": 0.0010055304172951233,
        "disagreementUpperBound": 0.004123456789012345,
    }
)


def largest() -> Handover:
    """Every field as long as it can be."""
    figures = ArtifactFigures(
        file="model-int8.onnx", sha256="a" * 64, size_ratio=0.26632586716278883, latency_ratio=1.6012345678901234
    )
    return Handover(
        inputs="b" * 64,
        verdict=Verdict.NOT_CERTIFIABLE,
        because="x" * TEXT_LIMIT,
        artifact=figures,
        uri="oci://" + "y" * (TEXT_LIMIT - 6),
        report_sha256="c" * 64,
        signoff=SIGNOFF,
        model=ModelIdentity(sha256="d" * 64),
        cpu_features=("amx_int8", "avx2", "avx512_vnni", "avx512f", "avx_vnni"),
        tools=dict.fromkeys(("numpy", "onnx", "onnxruntime", "python", "quanary", "scipy"), "10.20.30.post40"),
    )


def test_the_largest_handover_fits_and_reads_back() -> None:
    message = largest().to_message()
    assert len(message.encode()) <= HANDOVER_LIMIT_BYTES
    assert Handover.model_validate_json(message) == largest()


def test_a_handover_over_the_limit_is_no_message() -> None:
    with pytest.raises(ValueError, match=f"at most {HANDOVER_LIMIT_BYTES} fit"):
        largest().model_copy(update={"tools": {f"tool{index}": "1" * 100 for index in range(20)}}).to_message()


def test_a_refusal_of_any_length_fits_and_names_its_field() -> None:
    error = RefusedError("spec.validation.data.uri", "é" * 5000, "z" * 5000)
    message = Handover(inputs="b" * 64, refusal=error.refusal).to_message()
    assert Handover.model_validate_json(message).refusal == error.refusal
    assert error.refusal.found.endswith("…")


def test_a_refusal_alone_is_json_under_one_key() -> None:
    refusal = Refusal(field="spec.model.sha256", found="a", allowed="b")
    assert json.loads(refusal.to_message()) == {"refusal": {"field": "spec.model.sha256", "found": "a", "allowed": "b"}}
    assert refusal.sentence == "spec.model.sha256: found a; allowed: b"


@pytest.mark.parametrize("length", [TEXT_LIMIT, TEXT_LIMIT + 1])
def test_clipping_keeps_the_limit(length: int) -> None:
    assert len(clip("x" * length)) == TEXT_LIMIT
