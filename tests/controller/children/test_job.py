"""The quantizer's command line, as the resource asks for it."""

from typing import Any, get_args

import pytest

from quanary.api.v1alpha1 import Calibration, Quantization, SealOpening, Validation
from quanary.controller.children import Manifests, build
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.children.job import METRICS, metric_argument
from quanary.quantizer.inputs import check_arguments
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Opening
from tests.controller.models import FLOAT_ALONE, KEY, SETTINGS, SPEC, UID, spec

SEALED = SPEC["validation"]["data"]["sha256"]
CALIBRATION = SPEC["quantization"]["calibration"]


def built(seal: tuple[SealOpening, ...] = (), **changes: Any) -> Manifests:
    wanted = spec(**changes)
    target = type(FLOAT_ALONE)(**{**vars(FLOAT_ALONE), "quantize": True})
    return build(KEY, UID, wanted, SETTINGS, target, inputs_digest(wanted), seal)


def pod(manifests: Manifests) -> dict[str, Any]:
    assert manifests.job
    spec_: dict[str, Any] = manifests.job["spec"]["template"]["spec"]
    return spec_


def words(manifests: Manifests) -> list[str]:
    words_: list[str] = pod(manifests)["containers"][0]["args"][1:]
    return words_


def arguments(**changes: Any) -> QuantizeArguments:
    return QuantizeArguments.parse(words(built(**changes)))


def test_every_choice_reaches_the_quantizer() -> None:
    made = arguments(
        quantization={
            "strategy": "Static",
            "activations": "UInt16",
            "granularity": "PerTensor",
            "objective": "Size",
            "weights": "FullRange",
            "maxEvaluations": 7,
            "keepFloat": ["/head/*", "/stem"],
            "calibration": CALIBRATION | {"samples": 64, "method": "MeanSquaredError"},
        },
        validation=SPEC["validation"] | {"metric": "RecallAtK", "k": 5, "maxDrop": 0.03, "confidence": 0.9},
        benefit={"minSpeedup": 1.5, "minSizeReduction": 0.4},
    )
    assert (made.strategy, made.activations, made.granularity, made.objective) == (
        "static",
        "uint16",
        "pertensor",
        "size",
    )
    assert (made.full_range, made.max_evaluations, made.keep_float) == (True, 7, ("/head/*", "/stem"))
    assert (made.samples, made.method) == (64, "meansquarederror")
    assert (made.metric, made.max_drop, made.confidence) == ("recall@5", 0.03, 0.9)
    assert (made.min_speedup, made.min_size_reduction) == (1.5, 0.4)


def test_what_the_user_leaves_out_is_left_to_the_quantizer() -> None:
    flags = {word.partition("=")[0] for word in words(built())}
    assert not flags & {"--strategy", "--activations", "--granularity", "--objective", "--method", "--full-range"}


def test_a_provided_model_is_told_nothing_of_how_to_make_one() -> None:
    provided = {"uri": "https://models.example.com/int8.onnx", "sha256": "3" * 64}
    made = arguments(
        quantization={"strategy": "Provided", "provided": provided, "keepFloat": ["x"], "calibration": CALIBRATION}
    )
    assert (made.strategy, made.provided, made.calibration, made.keep_float) == ("provided", provided["uri"], "", ())


def test_every_metric_has_a_name_on_the_command_line() -> None:
    assert METRICS.keys() == set(get_args(Validation.model_fields["metric"].annotation))
    named = [Validation.model_validate(SPEC["validation"] | {"metric": each, "k": 1}) for each in METRICS]
    assert [metric_argument(each) for each in named] == [
        "agreement",
        "accuracy",
        "f1",
        "f1_binary",
        "roc_auc",
        "mae",
        "rmse",
        "cosine",
        "recall@1",
        "wer",
        "cer",
    ]


def test_earlier_openings_of_sealed_data_are_told_and_are_no_input() -> None:
    seal = (
        SealOpening(data="9" * 64, number=1, artifacts=("a" * 64,)),
        SealOpening(data=SEALED, number=1, artifacts=("b" * 64, "c" * 64)),
    )
    told = QuantizeArguments.parse(words(built(seal))).seal_opening
    # Of all data: the Job alone knows what its own hold.
    assert [Opening.model_validate_json(each) for each in told] == [
        Opening(data=SEALED, number=1, artifacts=("b" * 64, "c" * 64)),
        Opening(data="9" * 64, number=1, artifacts=("a" * 64,)),
    ]
    with_it, without = built(seal).job, built().job
    assert with_it
    assert without
    assert with_it["metadata"] == without["metadata"]


@pytest.mark.parametrize(
    ("serving", "limit"), [("256Mi", "2Gi"), ("512Mi", "2Gi"), ("1Gi", "4Gi"), ("900000Ki", "3600000Ki")]
)
def test_the_search_has_more_memory_than_a_server_and_never_too_little(serving: str, limit: str) -> None:
    resources = pod(built(runtime={"resources": {"memory": serving}}))["containers"][0]["resources"]
    assert resources["limits"]["memory"] == limit
    assert resources["requests"]["memory"] == serving


CLAIMS: dict[str, Any] = {
    "model": {"uri": "pvc://models/a/m.onnx", "sha256": "f" * 64},
    "quantization": {"calibration": {"data": {"uri": "pvc://data.2026/c.tar", "sha256": "1" * 64}}},
    "validation": {"data": {"uri": "pvc://data.2026/v.parquet", "sha256": "2" * 64}},
}


def test_claims_are_mounted_once_each_and_read_only() -> None:
    quantizer = pod(built(**CLAIMS))
    volumes = [each for each in quantizer["volumes"] if "persistentVolumeClaim" in each]
    assert volumes == [
        {"name": "claim-0", "persistentVolumeClaim": {"claimName": "data.2026", "readOnly": True}},
        {"name": "claim-1", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
    ]
    assert [each for each in quantizer["containers"][0]["volumeMounts"] if each["name"].startswith("claim")] == [
        {"name": "claim-0", "mountPath": "/pvc/data.2026", "readOnly": True},
        {"name": "claim-1", "mountPath": "/pvc/models", "readOnly": True},
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("strategy", ["Auto", "Static", "Dynamic"])
def test_the_quantizer_takes_every_word_it_is_told(strategy: str, metric: str) -> None:
    check_arguments(
        arguments(
            quantization={"strategy": strategy, "calibration": CALIBRATION},
            validation=SPEC["validation"] | {"metric": metric},
        )
    )


@pytest.mark.parametrize("method", get_args(Calibration.model_fields["method"].annotation))
def test_the_quantizer_takes_every_method_of_calibration(method: str) -> None:
    check_arguments(arguments(quantization={"calibration": CALIBRATION | {"method": method}}))


@pytest.mark.parametrize("field", ["activations", "granularity", "objective", "weights"])
def test_the_quantizer_takes_every_choice_of_a_recipe(field: str) -> None:
    for value in get_args(Quantization.model_fields[field].annotation):
        check_arguments(arguments(quantization={field: value, "calibration": CALIBRATION}))
