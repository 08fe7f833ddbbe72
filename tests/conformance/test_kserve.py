"""KServe's inference client, in an environment of its own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from e2e.environment import python_of
from tests.conformance.target import Target

HERE = Path(__file__).parent
ANSWER = {"scores": [[1, 2, 3], [5, 6, 7]], "total": [[24]]}


@pytest.fixture(scope="module")
def seen(target: Target) -> dict[str, Any]:
    """What the client saw, over both transports."""
    command: list[str | Path] = [
        python_of(HERE / "kserve.txt"),
        HERE / "kserve_client.py",
        target.url,
        target.grpc,
        target.model,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture
def grpc_seen(seen: dict[str, Any]) -> dict[str, Any]:
    if "grpc" not in seen:
        pytest.skip("the server speaks no gRPC")
    over_grpc: dict[str, Any] = seen["grpc"]
    return over_grpc


@pytest.mark.parametrize("what", ["live", "ready", "model ready"])
def test_rest_health(seen: dict[str, Any], what: str) -> None:
    assert seen["rest"][what] is True


@pytest.mark.parametrize("form", ["json", "binary"])
def test_rest_inference(seen: dict[str, Any], target: Target, form: str) -> None:
    assert seen["rest"][form] == {"id": "q7", "model": target.model, "outputs": ANSWER}


def test_rest_outputs_as_asked(seen: dict[str, Any]) -> None:
    assert seen["rest"]["one output"]["outputs"] == {"total": [[24]]}


def test_rest_unknown_model(seen: dict[str, Any]) -> None:
    error = seen["rest"]["unknown model"]["error"]
    assert ("HTTPStatusError" in error, "404" in error, "nobody" in error) == (True, True, True)


@pytest.mark.parametrize("what", ["live", "ready", "model ready"])
def test_grpc_health(grpc_seen: dict[str, Any], what: str) -> None:
    assert grpc_seen[what] is True


@pytest.mark.parametrize("form", ["typed", "raw"])
def test_grpc_inference(grpc_seen: dict[str, Any], target: Target, form: str) -> None:
    assert grpc_seen[form] == {"id": "q7", "model": target.model, "outputs": ANSWER}


def test_grpc_outputs_as_asked(grpc_seen: dict[str, Any]) -> None:
    assert grpc_seen["one output"]["outputs"] == {"total": [[24]]}


def test_grpc_unknown_model(grpc_seen: dict[str, Any]) -> None:
    error = grpc_seen["unknown model"]["error"]
    assert ("NOT_FOUND" in error, "nobody" in error) == (True, True)
