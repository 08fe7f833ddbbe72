from pathlib import Path

import pytest

from quanary.artifacts.locate import BucketFile, LocalFile, Location, OciFile, WebFile, locate
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
        ("s3://team-data/models/v1/m.onnx", BucketFile("s3", "team-data", "models/v1/m.onnx")),
        ("s3://team.data/a b%20c?d#e", BucketFile("s3", "team.data", "a b%20c?d#e")),
        ("gs://team_data/set.tar", BucketFile("gs", "team_data", "set.tar")),
        ("pvc://models/v1/m.onnx", LocalFile(Path("/pvc/models/v1/m.onnx"), Path("/pvc/models"))),
        ("pvc://models", LocalFile(Path("/pvc/models"), Path("/pvc/models"))),
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
        "s3://team-data",
        "s3://team-data/",
        "s3://team-data/folder/",
        "s3://user@team-data/m.onnx",
        "s3://team-data:9000/m.onnx",
        "s3://Team/m.onnx",
        "s3://a..b/m.onnx",
        "s3://../m.onnx",
        "s3://team-data/../other/m.onnx",
        "s3://team-data/a//m.onnx",
        "gs://team-data/a/./m.onnx",
        "az://container/m.onnx",
        "pvc://",
        "pvc:///m.onnx",
        "pvc://../m.onnx",
        "pvc://Models/m.onnx",
        "pvc://models/../../etc/passwd",
        "pvc://models/v1/../m.onnx",
    ],
)
def test_anything_else_is_refused_naming_field_and_value(uri: str) -> None:
    with pytest.raises(RefusedError) as caught:
        locate(uri, field="spec.model.uri")
    assert caught.value.refusal.field == "spec.model.uri"
    assert uri in caught.value.refusal.found
    assert "://" in caught.value.refusal.allowed


@pytest.mark.parametrize("hosts", [{"files.example:8080"}, {"files.example"}])
def test_plain_http_is_for_listed_hosts(hosts: set[str]) -> None:
    uri = "http://files.example:8080/m.onnx"
    assert locate(uri, field="f", insecure_hosts=frozenset(hosts)) == WebFile(uri, "files.example:8080")
