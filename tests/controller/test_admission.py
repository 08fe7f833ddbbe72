"""What the operator's settings refuse."""

from typing import Any

import pytest

from quanary.controller.admission import refusal
from quanary.controller.settings import Settings
from tests.controller.scenes import spec

HOST = "registry.example:5000"


def test_everything_is_allowed_where_nothing_is_listed() -> None:
    assert refusal(spec(), Settings()) == ""


def behind(image: str) -> dict[str, Any]:
    return {"type": "Triton", "server": {"image": f"{image}@sha256:{'d' * 64}"}}


@pytest.mark.parametrize(
    ("changes", "settings", "field", "allowed"),
    [
        ({}, Settings(allowed_hosts=("other:1",)), "spec.model.uri", "other:1"),
        (
            {"validation": {"data": {"uri": "https://evil/x", "sha256": "0" * 64}}},
            Settings(allowed_hosts=(HOST,)),
            "spec.validation.data.uri",
            HOST,
        ),
        (
            {"validation": {"data": {"uri": "s3://theirs/x", "sha256": "0" * 64}}},
            Settings(allowed_hosts=(HOST, "s3://ours")),
            "spec.validation.data.uri",
            "s3://ours",
        ),
        ({"model": {"uri": "http://h/m", "sha256": "0" * 64}}, Settings(), "spec.model.uri", "https"),
        ({"runtime": {"image": "evil/image:1"}}, Settings(), "spec.runtime.image", "operator's own"),
        ({"runtime": {"image": "evil/i:1"}}, Settings(allowed_images=("team/",)), "spec.runtime.image", "team/"),
        ({"runtime": behind("evil/i")}, Settings(allowed_images=("team/",)), "spec.runtime.server.image", "team/"),
        ({"runtime": behind("evil/i")}, Settings(), "spec.runtime.server.image", "operator's own"),
    ],
)
def test_a_refusal_names_field_and_what_is_allowed(
    changes: dict[str, Any], settings: Settings, field: str, allowed: str
) -> None:
    text = refusal(spec(**changes), settings)
    assert text.startswith(f"{field}: found ")
    assert allowed in text


def test_a_listed_server_passes() -> None:
    assert refusal(spec(runtime=behind("team/triton")), Settings(allowed_images=("team/",))) == ""


def test_listed_images_and_insecure_hosts_pass() -> None:
    settings = Settings(allowed_images=("team/",), insecure_hosts=("h",))
    allowed = spec(runtime={"image": "team/server:2"}, model={"uri": "http://h/m", "sha256": "0" * 64})
    assert refusal(allowed, settings) == ""


def test_listed_buckets_pass_and_claims_are_the_namespaces_own() -> None:
    settings = Settings(allowed_hosts=(HOST, "s3://ours"))
    bucket, claim = ({"uri": uri, "sha256": "0" * 64} for uri in ("s3://ours/x", "pvc://data/x"))
    allowed = spec(validation={"data": bucket}, quantization={"calibration": {"data": claim}})
    assert refusal(allowed, settings) == ""
