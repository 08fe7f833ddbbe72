"""A front found by the search in a Job whose pod is killed on the way, published whole, and in the status."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.kubectl import get, kubectl
from e2e.demo import kube, registry, stories
from e2e.demo.kube import wait_for, wait_for_stage
from quanary.api import names

NAME = "silero-vad-auto"

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def status(stage: stories.Stage) -> Iterator[dict[str, Any]]:
    """Of the example after its Job is done, its first pod having been killed at work."""
    kube.apply(stage.namespace, stage.example(NAME))
    try:
        wait_for_stage(stage.namespace, NAME, ("Quantizing",), 120)
        pod = wait_for("the Job's pod works", lambda: working_pod(stage.namespace), 120)
        kubectl("delete", "pod", pod, f"--namespace={stage.namespace}", "--force", "--grace-period=0")
        yield wait_for_stage(stage.namespace, NAME, ("Shadowing", "Canary", "Rejected"), 900)["status"]
    finally:
        kube.delete(stage.namespace, NAME)


def working_pod(namespace: str) -> str:
    """The name of the Job's running pod, empty without one."""
    found = kube.pods(namespace, f"{names.LABEL_JOB_OF}={NAME}")
    return next((each["metadata"]["name"] for each in found if each["status"].get("phase") == "Running"), "")


def test_a_killed_job_ends_in_a_certified_artifact(stage: stories.Stage, status: dict[str, Any]) -> None:
    assert status["candidate"]["verdict"] in {"Beneficial", "SizeOnly", "Inconclusive"}, status["because"]
    assert status["candidate"]["signoff"]["dropUpperBound"] <= 0.02
    jobs = get("jobs", f"--namespace={stage.namespace}", f"--selector={names.LABEL_JOB_OF}={NAME}")["items"]
    assert len(jobs) <= 1


def test_the_status_names_the_front_and_the_opening_of_the_seal(status: dict[str, Any]) -> None:
    front = status["front"]
    assert front
    assert status["candidate"]["digest"] not in {each["digest"] for each in front}
    assert all(each["dropUpperBound"] <= 0.02 for each in front)
    judged = {each["digest"] for each in front} | {status["candidate"]["digest"]}
    (opening,) = status["seal"]
    assert opening["number"] == 1
    assert judged <= set(opening["artifacts"])


def test_every_artifact_of_the_front_is_published_with_its_lineage(status: dict[str, Any]) -> None:
    pushed_to, pulled_from = registry.hosts()
    for each in (status["candidate"], *status["front"]):
        uri = each["uri"].replace(f"oci://{pulled_from}/", f"oci://{pushed_to}/")
        command = [sys.executable, "-m", "quanary", "inspect", uri, "--json", f"--insecure-host={pushed_to}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert each["digest"] in done.stdout
        assert json.loads(done.stdout)
