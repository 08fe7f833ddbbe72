"""What a shell sees: paths, verbs, statuses and plain JSON."""

import json
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.target import Target

ONE = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


@dataclass(frozen=True)
class Seen:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def curl(target: Target, path: str, *words: str, content: bytes | None = None) -> Seen:
    """A call; `content` goes through a pipe."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--include", "--max-time", "60", "--path-as-is"]
    if content is not None:
        command += ["--data-binary", "@-"]
    done = subprocess.run([*command, *words, target.url + path], input=content or b"", capture_output=True, check=True)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while b" 100 " in head.splitlines()[0]:
        head, _, body = body.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Seen(int(lines[0].split()[1]), headers, body)


def asked(target: Target, *tensors: Any, **more: Any) -> Seen:
    content = json.dumps({"inputs": list(tensors) or [ONE], **more}).encode()
    return curl(target, f"/v2/models/{target.model}/infer", content=content)


def model_path(target: Target, path: str) -> str:
    return path.replace("M", target.model, 1)


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/M",
        "/v2/models/M/versions/1",
        "/v2/models/M/ready",
        "/v2/models/M/versions/1/ready",
        "/v2/models/M/config",
        "/v2/models/M/stats",
        "/v2/models/M/versions/1/stats",
        "/v2/models/stats",
    ],
)
def test_routes_answer_200(target: Target, path: str) -> None:
    assert curl(target, model_path(target, path)).status == 200


@pytest.mark.parametrize("path", ["/v2/", "/v2/models/M/", "/v2/health/ready/"])
def test_paths_with_a_slash_at_the_end_are_the_same(target: Target, path: str) -> None:
    assert curl(target, model_path(target, path)).status == 200


def test_health_says_so_in_json(target: Target) -> None:
    assert curl(target, "/v2/health/live").json == {"live": True}
    assert curl(target, "/v2/health/ready").json == {"ready": True}


def test_the_server_names_its_extensions(target: Target) -> None:
    seen = curl(target, "/v2")
    assert {"name", "version", "extensions"} <= set(seen.json)
    assert "binary_tensor_data" in seen.json["extensions"]
    assert seen.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/v2/models/M/infer", "/v2/models/M/versions/1/infer"])
def test_an_inference(target: Target, path: str) -> None:
    content = json.dumps({"id": "7", "inputs": [ONE]}).encode()
    seen = curl(target, model_path(target, path), content=content)
    assert (seen.status, seen.json["model_name"], seen.json["id"]) == (200, target.model, "7")
    outputs = {each["name"]: each for each in seen.json["outputs"]}
    assert (outputs["scores"]["datatype"], outputs["scores"]["shape"]) == ("FP32", [1, 3])
    assert outputs["scores"]["data"] == [1, 2, 3]


def test_nested_data(target: Target) -> None:
    nested = {**ONE, "shape": [2, 4], "data": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    assert asked(target, nested, outputs=[{"name": "scores"}]).json["outputs"][0]["data"] == [1, 2, 3, 5, 6, 7]


def test_a_request_in_chunks(target: Target) -> None:
    content = json.dumps({"inputs": [ONE]}).encode()
    seen = curl(target, f"/v2/models/{target.model}/infer", "-H", "transfer-encoding: chunked", content=content)
    assert seen.status == 200


def test_a_large_request_that_waits_to_be_let_in(target: Target) -> None:
    rows = 40_000
    large = {**ONE, "shape": [rows, 4], "data": [1.5] * (4 * rows)}
    content = json.dumps({"inputs": [large], "outputs": [{"name": "total"}]}).encode()
    seen = curl(target, f"/v2/models/{target.model}/infer", "-H", "expect: 100-continue", content=content)
    assert seen.json["outputs"][0]["data"] == [rows * 4.5]


def test_a_bare_tensor(target: Target) -> None:
    path = f"/v2/models/{target.model}/infer"
    words = ("-H", "inference-header-content-length: 0", "-H", "content-type: application/octet-stream")
    seen = curl(target, path, *words, content=struct.pack("<4f", 1, 2, 3, 4))
    length = int(seen.headers["inference-header-content-length"])
    sizes = {each["name"]: each["parameters"]["binary_data_size"] for each in json.loads(seen.body[:length])["outputs"]}
    assert sizes == {"scores": 12, "total": 4}
    assert struct.unpack("<4f", seen.body[length:]) == (1, 2, 3, 6)


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/M/versions/77", 404),
        ("GET", "/v2/models/M/nonsense", 404),
        ("GET", "/nonsense", 404),
        ("GET", "/v2/models/M/infer", 405),
        ("POST", "/v2/models/M", 405),
        ("POST", "/v2/health/live", 405),
        ("DELETE", "/v2/models/M", 405),
    ],
)
def test_wrong_paths_and_verbs(target: Target, verb: str, path: str, status: int) -> None:
    assert curl(target, model_path(target, path), "-X", verb).status == status


WRONG = {
    "no JSON": b"{",
    "no object": b"[]",
    "no inputs": b"{}",
    "an empty body": b"",
    "missing input": json.dumps({"inputs": []}).encode(),
    "unknown input": json.dumps({"inputs": [ONE, {**ONE, "name": "y"}]}).encode(),
    "input given twice": json.dumps({"inputs": [ONE, ONE]}).encode(),
    "unknown output": json.dumps({"inputs": [ONE], "outputs": [{"name": "z"}]}).encode(),
    "wrong datatype": json.dumps({"inputs": [{**ONE, "datatype": "INT64"}]}).encode(),
    "unknown datatype": json.dumps({"inputs": [{**ONE, "datatype": "FP8"}]}).encode(),
    "wrong shape": json.dumps({"inputs": [{**ONE, "shape": [2, 2]}]}).encode(),
    "element count": json.dumps({"inputs": [{**ONE, "data": [1, 2, 3]}]}).encode(),
    "negative dimension": json.dumps({"inputs": [{**ONE, "shape": [-1, 4]}]}).encode(),
    "huge shape": json.dumps({"inputs": [{**ONE, "shape": [2**62, 4]}]}).encode(),
    "text for numbers": json.dumps({"inputs": [{**ONE, "data": ["a", "b", "c", "d"]}]}).encode(),
    "no shape": json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "data": [1, 2, 3, 4]}]}).encode(),
    "no data": json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]}).encode(),
}


@pytest.mark.parametrize("mistake", list(WRONG))
def test_mistakes_get_their_status(target: Target, mistake: str) -> None:
    seen = curl(target, f"/v2/models/{target.model}/infer", content=WRONG[mistake])
    assert (seen.status, set(seen.json)) == (400, {"error"})
    assert seen.json["error"]
    assert asked(target).status == 200


@pytest.mark.parametrize("length", ["999999", "-1", "seven"])
def test_a_lying_length_of_the_json_part(target: Target, length: str) -> None:
    words = ("-H", f"inference-header-content-length: {length}")
    seen = curl(target, f"/v2/models/{target.model}/infer", *words, content=json.dumps({"inputs": [ONE]}).encode())
    assert (seen.status, set(seen.json)) == (400, {"error"})


def test_an_unknown_encoding(target: Target) -> None:
    content = json.dumps({"inputs": [ONE]}).encode()
    seen = curl(target, f"/v2/models/{target.model}/infer", "-H", "content-encoding: br", content=content)
    assert seen.status == 415


def test_a_body_too_large(target: Target, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (65 * 2**20))
    words = ("-X", "POST", "-H", "expect: 100-continue", "-T", str(tmp_path / "large"))
    assert curl(target, f"/v2/models/{target.model}/infer", *words).status == 413
