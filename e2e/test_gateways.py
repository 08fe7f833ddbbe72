"""Two gateways of different makers before one model: canary, rollback, promotion, restarts, critical requests."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import tritonclient.grpc as triton

from e2e.cluster import addons, addresses, paths
from e2e.cluster.kubectl import kubectl
from e2e.demo import kube, stories
from e2e.demo.kube import wait_for, wait_for_stage
from e2e.demo.load import Answer, Load, tally, with_critical
from quanary.api import names
from quanary.wire.inference import DIGEST_HEADER

NAME = "silero-vad-gateways"
PATH_NAME = "silero-vad-path"
HOST = "vad.example.com"
ENVOY = {"name": "quanary", "namespace": "gateway"}
TRAEFIK = {"name": "traefik", "namespace": "traefik"}
CRITICAL = {"header": {"name": "x-critical", "value": "true"}, "path": "/critical"}
RATE = 8.0  # a second and gateway, every second request critical
SECONDS = 1500.0

# A model goes through its whole life in a fixture, and every wait of its own is bounded.
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(paths.is_existing(), reason="a cluster that is brought along has its own gateways"),
]


@dataclass(frozen=True)
class Played:
    """What the model's life left behind."""

    before: Mapping[str, Any]  # status at 50 %
    rolled_back: Mapping[str, Any]
    promoted: Mapping[str, Any]
    answers: Mapping[str, list[Answer]]  # by gateway
    weights: list[int]


@pytest.fixture(scope="module")
def traefik() -> str:
    """Address of the second gateway."""
    addons.install_second_gateway()
    return addresses.second_gateway()


@pytest.fixture(scope="module")
def played(stage: stories.Stage, traefik: str) -> Iterator[Played]:
    """One model from float to promoted, with a rollback on the way, asked through both gateways all the time."""
    with Load(traefik, rate=RATE, limit=int(RATE * SECONDS), seconds=SECONDS) as second:
        try:
            yield _play(stage, {"envoy": stage.load, "traefik": second})
        finally:
            for load in (stage.load, second):
                load.aim(NAME, 0)
            kube.delete(stage.namespace, NAME)


def _play(stage: stories.Stage, loads: Mapping[str, Load]) -> Played:
    kube.apply(stage.namespace, _model(stage))
    for address in (stage.gateway, addresses.second_gateway()):
        wait_for(f"{address} answers", lambda address=address: stories.answers(address, NAME), 120)  # type: ignore[misc]
    _aim(stage, loads)
    wait_for("INT8 carries traffic", lambda: stage.chronicle.weight_of(NAME) == 500, 600, every=0.2)
    before = kube.model(stage.namespace, NAME)["status"]
    _restart(stage, before)
    _turn_bad(stage, loads, before)
    rolled_back = wait_for_stage(stage.namespace, NAME, ("RolledBack",), 240)["status"]
    digest = rolled_back["condemned"][-1]["digest"]
    # The fault is in these pods: trusted while they are still there, it would be condemned again.
    wait_for("its pods are gone", lambda: not _int8_pods(stage), 90)
    _patch(stage, {"rollout": {"retry": digest, "dwell": "5s"}})
    promoted = wait_for_stage(stage.namespace, NAME, ("Promoted",), 600)["status"]
    promoted_at = stage.chronicle.stages_of(NAME)[-1].at
    wait_for("answers after the promotion", lambda: _all_have(loads, digest, promoted_at, 10), 30, every=0.2)
    for load in loads.values():
        load.aim(NAME, 0)
        wait_for("no request under way", lambda load=load: not load.under_way(NAME), 30, every=0.2)  # type: ignore[misc]
    answers = {gateway: load.answers(NAME) for gateway, load in loads.items()}
    return Played(before, rolled_back, promoted, answers, [each.weight for each in stage.chronicle.weights_of(NAME)])


def _model(stage: stories.Stage) -> dict[str, Any]:
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = NAME
    spec = manifest["spec"]
    spec["runtime"]["image"] = stage.test_image
    spec["gates"]["mismatch"] = 0.2  # proven in a quarter of the time, and it is proven twice
    spec["rollout"] |= {"steps": [50, 100], "dwell": "1h"}
    spec["critical"] = CRITICAL
    spec["route"] = {"parentRefs": [ENVOY, TRAEFIK]}
    return manifest


def _int8_pods(stage: stories.Stage) -> list[dict[str, Any]]:
    return kube.pods(stage.namespace, f"{names.LABEL_MODEL}={NAME},{names.LABEL_VARIANT}=int8")


def _aim(stage: stories.Stage, loads: Mapping[str, Load]) -> None:
    """Each gateway begins elsewhere: an input that was compared once counts once an hour."""
    asked = list(stage.asked[stories.TURNING])
    half = len(asked) // 2
    header = (CRITICAL["header"]["name"], CRITICAL["header"]["value"])  # type: ignore[index]
    for load, order in zip(loads.values(), (asked, asked[half:] + asked[:half]), strict=True):
        load.aim(NAME, RATE, with_critical(order, header, "/critical"))


def _restart(stage: stories.Stage, status: Mapping[str, Any]) -> None:
    """Every pod of both variants is replaced while both carry traffic."""
    for variant, digest in (("float", status["source"]["sha256"]), ("int8", status["candidate"]["digest"])):
        deployment = f"deployment/{names.variant_name(NAME, variant, digest)}"  # type: ignore[arg-type]
        kubectl("rollout", "restart", f"--namespace={stage.namespace}", deployment)
        kubectl("rollout", "status", f"--namespace={stage.namespace}", deployment, "--timeout=180s")


def _turn_bad(stage: stories.Stage, loads: Mapping[str, Load], status: Mapping[str, Any]) -> None:
    digest, since = names.short(status["candidate"]["digest"]), stage.chronicle.weights_of(NAME)[-1].at
    wait_for("INT8 answers through both gateways", lambda: _all_have(loads, digest, since, 10), 60, every=0.2)
    for pod in kube.int8_pods(stage.namespace, NAME):
        kube.turn_fault(stage.namespace, pod, **stories.FAULTS["errors"])
    wait_for("INT8 is off traffic", lambda: stage.chronicle.weight_of(NAME) == 0, 120, every=0.2)


def _all_have(loads: Mapping[str, Load], digest: str, since: float, count: int) -> bool:
    short = names.short(digest)
    return all(sum(each.digest == short for each in load.answers(NAME, since)) >= count for load in loads.values())


def _patch(stage: stories.Stage, spec: Mapping[str, Any], name: str = NAME) -> None:
    patch = json.dumps({"spec": spec})
    kubectl("patch", names.PLURAL, name, f"--namespace={stage.namespace}", "--type=merge", f"--patch={patch}")


def test_one_route_takes_the_model_all_the_way_through_both(played: Played) -> None:
    assert played.weights == [0, 500, 0, 500, 1000]
    assert played.promoted["stable"]["digest"] == played.before["candidate"]["digest"]
    assert played.promoted["condemned"] == []
    for gateway, answers in played.answers.items():
        served = {each.digest for each in answers}
        assert served >= {names.short(played.promoted["stable"]["digest"])}, gateway


def test_a_fault_is_rolled_back_and_a_person_may_trust_it_once_more(played: Played) -> None:
    (condemned,) = played.rolled_back["condemned"]
    assert condemned["digest"] == played.before["candidate"]["digest"]
    assert condemned["reason"].partition(":")[0] in {"errors", "mismatch"}


@pytest.mark.parametrize("gateway", ["envoy", "traefik"])
def test_no_request_was_lost_but_those_made_to_fail(played: Played, gateway: str) -> None:
    counts = tally(played.answers[gateway])
    assert counts.failed == 0, counts.failures
    assert counts.sent > 500


@pytest.mark.parametrize("gateway", ["envoy", "traefik"])
@pytest.mark.parametrize("mark", ["header", "path"])
def test_no_critical_request_is_ever_answered_by_int8(played: Played, gateway: str, mark: str) -> None:
    answers = [each for each in played.answers[gateway] if each.mark == mark]
    assert len(answers) > 100
    assert {each.digest for each in answers} == {names.short(played.before["source"]["sha256"])}
    assert not any(each.is_injected for each in answers)


def test_what_the_classes_declare_is_said(played: Played) -> None:
    # Envoy Gateway declares nothing; a class that says nothing is trusted, and named.
    found = _condition(played.promoted)
    assert (found["status"], found["reason"]) == ("Unknown", "FeaturesUnknown")
    assert "GatewayClass quanary declares no features" in found["message"]


@pytest.fixture
def custom(stage: stories.Stage, traefik: str) -> Iterator[str]:
    """Float alone at a path and under a host name of its own, through the second gateway; its digest."""
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = PATH_NAME
    spec = manifest["spec"]
    spec["rollout"]["mode"] = "FloatOnly"
    spec["critical"] = CRITICAL
    spec["route"] = {"parentRefs": [TRAEFIK], "path": "/vad", "hostnames": [HOST]}
    kube.apply(stage.namespace, manifest)
    wait_for(f"{traefik}/vad answers", lambda: _get(traefik, "/vad/ready")[0] == 200, 120)
    yield names.short(spec["model"]["sha256"])
    kube.delete(stage.namespace, PATH_NAME)


def test_a_path_of_its_own_and_grpc_reach_the_model_through_both(
    stage: stories.Stage, traefik: str, custom: str
) -> None:
    assert _condition(kube.model(stage.namespace, PATH_NAME)["status"])["status"] == "True"
    _patch(stage, {"route": {"parentRefs": [TRAEFIK, ENVOY]}}, PATH_NAME)
    wait_for("both answer", lambda: _get(stage.gateway, "/vad/ready")[0] == 200, 60)
    question = stage.asked[stories.TURNING][0]
    for address in (traefik, stage.gateway):
        for path in ("/vad/infer", "/critical/vad/infer"):
            status, headers = _get(address, path, question.body, question.headers)
            assert (status, headers.get(DIGEST_HEADER)) == (200, custom), f"{address}{path}"
        assert _get(address, f"/v2/models/{PATH_NAME}/infer", question.body, question.headers)[0] == 404
        host = address if ":" in address else f"{address}:80"
        with triton.InferenceServerClient(host, channel_args=[("grpc.default_authority", HOST)]) as client:
            assert client.is_model_ready(PATH_NAME), address
            assert client.get_model_metadata(PATH_NAME).name == PATH_NAME


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    (found,) = (each for each in status["conditions"] if each["type"] == "RouteSupported")
    return dict(found)


def _get(
    address: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str]]:
    request = urllib.request.Request(f"http://{address}{path}", body, {**(headers or {}), "host": HOST})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {}
    except OSError:
        return 0, {}
