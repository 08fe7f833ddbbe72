from pathlib import Path

import pytest

from quanary.artifacts.locate import LocalFile, Location, OciFile, WebFile, locate
from quanary.wire.report import RefusedError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models/m.onnx", LocalFile(Path("models/m.onnx"))),
        ("file:///models/m.onnx", LocalFile(Path("/models/m.onnx"))),
        ("oci://registry.example:5000/team/m:v1", OciFile("registry.example:5000", "team/m", "v1")),
        ("oci://registry.example/m", OciFile("registry.example", "m", "latest")),
        (f"oci://[::1]:5000/a/b-c@{DIGEST}", OciFile("[::1]:5000", "a/b-c", DIGEST)),
        (f"oci://registry.example/m:v1@{DIGEST}", OciFile("registry.example", "m", DIGEST)),
        ("https://files.example/m.onnx", WebFile("https://files.example/m.onnx", "files.example")),
    ],
)
def test_a_uri_names_one_place(uri: str, expected: Location) -> None:
    assert locate(uri, field="spec.model.uri") == expected


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://files.example/m.onnx",
        "oci://registry.example",
        "oci://registry.example/UPPER",
        "oci://registry.example/../secret",
        "oci://user:pass@registry.example/m",
        "oci://registry.example/m@sha256:short",
        "https://user:pass@files.example/m.onnx",
        "https:///m.onnx",
        "http://files.example/m.onnx",
    ],
)
def test_anything_else_is_refused_naming_field_and_value(uri: str) -> None:
    with pytest.raises(RefusedError) as caught:
        locate(uri, field="spec.model.uri")
    assert caught.value.refusal.field == "spec.model.uri"
    assert uri in caught.value.refusal.found
    assert "https://" in caught.value.refusal.allowed


@pytest.mark.parametrize("hosts", [{"files.example:8080"}, {"files.example"}])
def test_plain_http_is_for_listed_hosts(hosts: set[str]) -> None:
    uri = "http://files.example:8080/m.onnx"
    assert locate(uri, field="f", insecure_hosts=frozenset(hosts)) == WebFile(uri, "files.example:8080")
