"""The sink of examples/review in the cluster: what INT8 is unsure of arrives there, through an outage of it as well."""

import json
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from e2e.cluster import node, paths
from e2e.cluster.kubectl import apply, kubectl
from e2e.demo import examples, kube, stories
from e2e.demo.kube import wait_for
from e2e.demo.load import Question
from quanary.api import names
from quanary.wire.inference import ESCALATED_HEADER, HEADER_LENGTH
from quanary.wire.launch import METRICS_PORT
from quanary.wire.metrics import ESCALATED, REVIEWS_LOST, REVIEWS_WAITING

NAME = "silero-vad-review"
CONSUMER = "deployment/review-consumer"
BELOW = 0.95  # INT8 is less sure of one frame in seven
QUESTIONS = 120  # in each test
PAUSE_SECONDS = 1 / 30

# A model goes through shadow in a fixture, and every wait of its own is bounded.
pytestmark = pytest.mark.timeout(900)

Event = dict[str, Any]
Said = tuple[bytes, bytes]  # the tensors of a question and of its answer


@pytest.fixture(scope="module")
def disk(stage: stories.Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the example claims; here no StorageClass gives it."""
    if paths.is_existing():
        yield
        return
    volume = _volume(stage.namespace, tmp_path_factory.mktemp("reviews"))
    apply(stdin=json.dumps(volume))
    yield
    kubectl("delete", "persistentvolume", volume["metadata"]["name"])


def _volume(namespace: str, folder: Path) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.NAME]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-reviews"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": namespace, "name": "reviews"},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


@pytest.fixture(scope="module")
def consumer(stage: stories.Stage, disk: None) -> Iterator[None]:  # noqa: ARG001
    """The example as it is, but for its image, which no registry here has."""
    built = list(yaml.safe_load_all(kubectl("kustomize", examples.FOLDER / "review")))
    (deployment,) = (each for each in built if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = stage.test_image
    text = yaml.safe_dump_all(built)
    kubectl("apply", f"--namespace={stage.namespace}", "--filename=-", stdin=text)
    try:
        _wait_until_ready(stage)
        yield
    finally:
        kubectl("delete", f"--namespace={stage.namespace}", "--wait", "--filename=-", stdin=text)


@pytest.fixture(scope="module")
def pod(stage: stories.Stage, consumer: None) -> Iterator[str]:  # noqa: ARG001
    """The INT8 pod that answers all users; nobody asks it yet, and the reviews of those before have arrived."""
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = NAME
    spec = manifest["spec"]
    spec["runtime"]["resources"]["cpu"] = "400m"  # of which the Job makes use
    spec["gates"]["mismatch"] = 0.5  # proven in seconds: the proof is another test's
    spec["rollout"] = {"shadow": {"ratio": 1, "minSamples": 20}, "steps": [100], "dwell": "1h"}
    spec["escalation"] = {"below": BELOW, "budget": 0.5, "to": "Review", "sink": "http://reviews"}
    try:
        stories.bring_up(stage, manifest, stories.TURNING_RATE)
        wait_for(f"{NAME} carries all traffic", lambda: stage.chronicle.weight_of(NAME), 300, every=0.2)
        digest = names.short(_status(stage)["candidate"]["digest"])
        wait_for("INT8 answers", lambda: sum(e.digest == digest for e in stage.load.answers(NAME)) > 20, 30, every=0.2)
        stage.load.aim(NAME, 0)
        wait_for("no request under way", lambda: not stage.load.under_way(NAME), 30, every=0.2)
        (found,) = kube.int8_pods(stage.namespace, NAME)
        _wait_until_sent(stage, found)
        yield found
    finally:
        stage.load.aim(NAME, 0)
        kube.delete(stage.namespace, NAME)


def test_what_int8_is_unsure_of_arrives_as_it_was_asked_and_answered(stage: stories.Stage, pod: str) -> None:
    before = _arrived(stage)
    marked = _ask(stage, stage.asked[stories.TURNING][:QUESTIONS])
    assert marked
    _wait_until_sent(stage, pod)
    events = _arrived(stage)[len(before) :]
    assert sorted(map(_said, events)) == sorted(marked)
    for each in events:
        data = each["data"]
        (speech,) = data["outputs"][0]["data"]
        assert data["confidence"] == pytest.approx(max(speech, 1 - speech), abs=1e-6)
        assert data["confidence"] < BELOW


def test_what_was_answered_during_an_outage_arrives_after_it(stage: stories.Stage, pod: str) -> None:
    before = _arrived(stage)
    _scale(stage, 0)
    wait_for("the consumer is gone", lambda: not _consumers(stage), 20, every=0.2)  # it ends when it is told to
    marked = _ask(stage, stage.asked[stories.TURNING][QUESTIONS : 2 * QUESTIONS])
    assert marked
    wait_for("its reviews wait", lambda: _counts(stage, pod)[REVIEWS_WAITING] == len(marked), 10, every=0.2)
    _scale(stage, 1)
    _wait_until_ready(stage)
    _wait_until_sent(stage, pod)
    events = _arrived(stage)
    assert events[: len(before)] == before
    assert sorted(map(_said, events[len(before) :])) == sorted(marked)


def test_every_answer_that_was_counted_is_an_event_of_this_model(stage: stories.Stage, pod: str) -> None:
    events, counts = _arrived(stage), _counts(stage, pod)
    assert len({(each["source"], each["id"]) for each in events}) == len(events) == counts[ESCALATED]
    assert counts[REVIEWS_LOST] == 0
    digest = names.short(_status(stage)["candidate"]["digest"])
    for each in events:
        assert (each["specversion"], each["type"]) == ("1.0", "dev.quanary.review.v1")
        assert (each["source"], each["subject"]) == (f"//{pod}/v2/models/{NAME}", NAME)
        assert (each["data"]["model_name"], each["data"]["digest"]) == (NAME, digest)


def _status(stage: stories.Stage) -> dict[str, Any]:
    found: dict[str, Any] = kube.model(stage.namespace, NAME)["status"]
    return found


def _ask(stage: stories.Stage, asked: Sequence[Question]) -> list[Said]:
    """Ask one by one; those whose answers say that they are reviewed."""
    marked = []
    for each in asked:
        url = f"http://{stage.gateway}/v2/models/{NAME}/infer"
        with urllib.request.urlopen(urllib.request.Request(url, each.body, dict(each.headers)), timeout=10) as response:
            if response.headers[ESCALATED_HEADER] == "review":
                marked.append((_tensors(each.headers, each.body), _tensors(response.headers, response.read())))
        time.sleep(PAUSE_SECONDS)
    return marked


def _tensors(headers: Mapping[str, str], body: bytes) -> bytes:
    """What follows the JSON of a binary message."""
    return body[int(headers[HEADER_LENGTH]) :]


def _said(event: Event) -> Said:
    """The same of an event."""
    question, answer = (
        b"".join(np.array(each["data"], "<f4").tobytes() for each in event["data"][part])
        for part in ("inputs", "outputs")
    )
    return question, answer


def _arrived(stage: stories.Stage) -> list[Event]:
    """What the consumer has on its disk, in the order it came."""
    text = kubectl("exec", CONSUMER, f"--namespace={stage.namespace}", "--", "cat", "/reviews/reviews.jsonl")
    return [json.loads(line) for line in text.splitlines()]


def _counts(stage: stories.Stage, pod: str) -> dict[str, float]:
    """The pod's own page for people, summed over labels."""
    url = f"/api/v1/namespaces/{stage.namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
    counts: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(kubectl("get", "--raw", url)):
        for each in family.samples:
            counts[each.name] += each.value
    return counts


def _wait_until_sent(stage: stories.Stage, pod: str) -> None:
    wait_for("no review waits", lambda: not _counts(stage, pod)[REVIEWS_WAITING], 60, every=0.5)


def _wait_until_ready(stage: stories.Stage) -> None:
    kubectl("rollout", "status", CONSUMER, f"--namespace={stage.namespace}", "--timeout=60s")


def _scale(stage: stories.Stage, replicas: int) -> None:
    kubectl("scale", CONSUMER, f"--namespace={stage.namespace}", f"--replicas={replicas}")


def _consumers(stage: stories.Stage) -> list[dict[str, Any]]:
    return kube.pods(stage.namespace, "app.kubernetes.io/name=review-consumer")
