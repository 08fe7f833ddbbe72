"""What a real API server takes and what it refuses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError

from quanary.api import names
from quanary.api.v1alpha1 import COLUMNS, Condition, FrontArtifact, QuantizedModelSpec, QuantizedModelStatus

EXAMPLES: Final = [
    each
    for each in sorted((Path(__file__).parents[2] / "examples").glob("**/*.yaml"))
    if "kind: QuantizedModel" in each.read_text()
]
REMOVED: Final = object()
SHA: Final = "0123456789abcdef" * 4
TRITON: Final = f"registry.example/tritonserver@sha256:{SHA}"
TRITON_BY_TAG: Final = {"type": "Triton", "server": {"image": "registry.example/tritonserver:26.07-py3"}}
SERVER: Final = "spec.runtime.server"
SOURCE: Final = {"uri": "https://models.example/m.onnx", "sha256": SHA}


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set, or remove, what a dotted path names."""
    *parents, last = path.split(".")
    for key in parents:
        document = document.setdefault(key, {})
    if value is REMOVED:
        del document[last]
    else:
        document[last] = value


def refusal(error: DynamicApiError) -> str:
    """What kubectl would print."""
    return str(json.loads(error.body)["message"])


def accept(models: Any, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = models.create(
        body=body, namespace="default", dry_run="All", query_params=[("fieldValidation", "Strict")]
    ).to_dict()
    return answer


def test_the_server_finds_nothing_wrong_with_the_definition(client: DynamicClient) -> None:
    crds = client.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    conditions = crds.get(name=f"{names.PLURAL}.{names.GROUP}").to_dict()["status"]["conditions"]
    assert {each["type"]: each["status"] for each in conditions} == {"NamesAccepted": "True", "Established": "True"}


def test_short_name_and_categories_are_known_to_clients(client: DynamicClient) -> None:
    answer = client.request("get", f"/apis/{names.API_VERSION}").to_dict()
    resources = {each["name"]: each for each in answer["resources"]}
    assert set(resources) == {names.PLURAL, f"{names.PLURAL}/status"}
    assert resources[names.PLURAL]["shortNames"] == ["qm"]
    assert resources[names.PLURAL]["categories"] == ["quanary", "ml"]
    assert resources[names.PLURAL]["namespaced"] is True


def test_the_least_a_user_says_gets_every_default(models: Any, good: dict[str, Any]) -> None:
    filled = accept(models, good)["spec"]
    expected = QuantizedModelSpec.model_validate(good["spec"]).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert filled == expected
    assert QuantizedModelSpec.model_validate(filled) == QuantizedModelSpec.model_validate(good["spec"])


def test_an_object_given_in_part_gets_its_other_defaults(models: Any, good: dict[str, Any]) -> None:
    good["spec"]["rollout"] = {"mode": "Paused"}
    filled = accept(models, good)["spec"]["rollout"]
    assert filled["mode"] == "Paused"
    assert filled["steps"] == [1, 5, 25, 50, 100]
    assert filled["dwell"] == "120s"
    assert filled["shadow"]["ratio"] == 0.2


@pytest.mark.parametrize("path", EXAMPLES, ids=[each.name for each in EXAMPLES])
def test_every_example_is_accepted(models: Any, path: Path) -> None:
    # A digest of data that is only made when the example runs is a placeholder until then.
    text = re.sub(r"\$\{[^}]+\}", SHA, path.read_text())
    documents = [each for each in yaml.safe_load_all(text) if each]
    for document in documents:
        if document["kind"] == names.KIND:
            document["metadata"]["namespace"] = "default"
            QuantizedModelSpec.model_validate(accept(models, document)["spec"])


GOOD: Final[dict[str, tuple[str, Any]]] = {
    "one step": ("spec.rollout.steps", [100]),
    "a compound duration": ("spec.rollout.dwell", "1m30s"),
    "milliseconds of CPU": ("spec.runtime.resources", {"cpu": "500m"}),
    "a toleration of everything": ("spec.runtime.tolerations", [{"operator": "Exists"}]),
    "Triton by digest": ("spec.runtime", {"type": "Triton", "server": {"image": TRITON}}),
    "another server": (
        "spec.runtime",
        {"type": "Custom", "server": {"image": TRITON, "args": ["--port=8001"], "port": 8001, "front": {"cpu": "1"}}},
    ),
    "a provided INT8 model": ("spec.quantization", {"strategy": "Provided", "provided": SOURCE}),
    "a search without a strategy": ("spec.quantization", {"calibration": {"data": SOURCE}}),
    "weights of one kind of CPU": (
        "spec",
        {
            "quantization": {"weights": "FullRange", "calibration": {"data": SOURCE}},
            "runtime": {"nodeSelector": {"cpu": "vnni"}},
        },
    ),
    "16 bits for size": (
        "spec.quantization",
        {"strategy": "Static", "activations": "UInt16", "objective": "Size", "calibration": {"data": SOURCE}},
    ),
    "escalation to float": ("spec.escalation", {"below": 0.6, "confidence": "Margin", "budget": 0.5}),
    "reviews over TLS": ("spec.escalation", {"below": 1, "to": "Review", "sink": "https://reviews.example:8443/a?b=c"}),
    "every verdict that may be accepted": ("spec.benefit.accept", ["SizeOnly", "Inconclusive"]),
    "boxes apart by half": ("spec.gates.divergence", {"measure": "BoxOverlap", "limit": 0.5, "output": "boxes"}),
    "a difference of twice the value": ("spec.gates.divergence", {"measure": "Tolerance", "limit": 2}),
    "recall among the best five": ("spec.validation", {"data": SOURCE, "metric": "RecallAtK", "k": 5}),
    "a method of calibration": ("spec.quantization.calibration", {"data": SOURCE, "method": "Entropy"}),
    "a safer artifact to fall back on": ("spec.rollback.to", "SaferArtifact"),
    "an object in a bucket": ("spec.model.uri", "s3://models-2026/files/v1.onnx"),
    "an object in another": ("spec.model.uri", "gs://models.example/v1.onnx"),
    "a file in a claim": ("spec.model.uri", "pvc://models-0/files/v1.onnx"),
    "the root path": ("spec.route.path", "/"),
    "a wildcard host": ("spec.route.hostnames", ["*.models.example"]),
    "a name of 40 characters": ("metadata.name", "m" * 40),
    "a registry by port": ("spec.model.uri", "oci://registry.example:5000/models/files:v1"),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_value_is_accepted(models: Any, good: dict[str, Any], case: str) -> None:
    path, value = GOOD[case]
    if path == "spec":
        good["spec"] |= value
    else:
        put(good, path, value)
    assert accept(models, good)["metadata"]["name"] == good["metadata"]["name"]


STEPS: Final = "spec.rollout.steps"
ROUTE: Final = "spec.route"
HEADER: Final = "spec.critical.header"
RESOURCES: Final = "spec.runtime.resources"

# What is wrong: where it is put, what is put there, what the refusal says, and the field it names if not that one.
BAD: Final[dict[str, tuple[str, Any, str] | tuple[str, Any, str, str]]] = {
    "no sha256": ("spec.model.sha256", REMOVED, "Required value"),
    "an empty sha256": ("spec.model.sha256", "", "should match"),
    "a sha256 in capitals": ("spec.model.sha256", SHA.upper(), "should match"),
    "a sha256 with its prefix": ("spec.model.sha256", f"sha256:{SHA}", "64"),
    "a file URI": ("spec.model.uri", "file:///etc/passwd", "should match"),
    "a URI with credentials": ("spec.model.uri", "https://me:secret@models.example/m", "should match"),
    "a URI with a space": ("spec.model.uri", "https://models.example/a b", "should match"),
    "a URI of 2,000 characters": ("spec.model.uri", "oci://" + "m" * 2000, "1024"),
    "artifacts not to a registry": ("spec.artifacts.repository", "https://models.example", "should match"),
    "no artifacts": ("spec.artifacts", REMOVED, "Required value"),
    "no spec": ("spec", REMOVED, "Required value"),
    "a divergence without a limit": (
        "spec.gates.divergence",
        {"measure": "Cosine"},
        "needs a limit above 0",
        "spec.gates.divergence.limit",
    ),
    "escalation of nothing": ("spec.escalation", {"below": 0}, "should be greater than 0", "spec.escalation.below"),
    "reviews to nowhere": ("spec.escalation", {"below": 0.6, "to": "Review"}, "needs a sink", "spec.escalation.sink"),
    "a sink with a password": (
        "spec.escalation",
        {"below": 0.6, "to": "Review", "sink": "http://user:word@reviews"},
        "should match",
        "spec.escalation.sink",
    ),
    "confidence from no output": (
        "spec.escalation",
        {"below": 0.6, "confidence": "Output"},
        "needs the name of an output",
        "spec.escalation.output",
    ),
    "a path of critical requests that is none": ("spec.critical.path", "critical", "should match"),
    "a path of critical requests that is every request's": ("spec.critical.path", "/v2", "own", "spec.critical.path"),
    "a limit of top-1": ("spec.gates.divergence", {"limit": 1}, "Top1 has none", "spec.gates.divergence.limit"),
    "boxes that may share nothing": (
        "spec.gates.divergence",
        {"measure": "BoxOverlap", "limit": 1},
        "below 1 for BoxOverlap",
        "spec.gates.divergence.limit",
    ),
    "vectors that may be opposite": (
        "spec.gates.divergence",
        {"measure": "Cosine", "limit": 2.0},
        "below 2 for Cosine",
        "spec.gates.divergence.limit",
    ),
    "steps that fall": (STEPS, [5, 1, 100], "must rise strictly"),
    "a step twice": (STEPS, [5, 5, 100], "must rise strictly"),
    "steps that end early": (STEPS, [1, 5], "must end with 100"),
    "no step": (STEPS, [], "at least 1 items"),
    "a step of 0": (STEPS, [0, 100], "greater than or equal to 1", f"{STEPS}[0]"),
    "a step of 101": (STEPS, [1, 101], "less than or equal to 100", f"{STEPS}[1]"),
    "21 steps": (STEPS, [*range(1, 21), 100], "20"),
    "no drop allowed": ("spec.validation.maxDrop", 0, "greater than 0"),
    "any drop allowed": ("spec.validation.maxDrop", 1, "must be <= 0.5"),
    "a coin's confidence": ("spec.validation.confidence", 0.4, "must be >= 0.5"),
    "certainty": ("spec.validation.confidence", 1, "must be <= 0.9999"),
    "an unknown metric": ("spec.validation.metric", "Bleu", '"Agreement", "Accuracy", "F1", "F1Binary", "RocAuc"'),
    "a k without its metric": ("spec.validation.k", 5, "k belongs to metric RecallAtK"),
    "a k of nothing": ("spec.validation", {"data": SOURCE, "metric": "RecallAtK", "k": 0}, "to 1", "spec.validation.k"),
    "an unknown strategy": ("spec.quantization.strategy", "Qat", '"Auto", "Static", "Dynamic", "Provided"'),
    "an unknown objective": ("spec.quantization.objective", "Energy", '"Latency", "Size"'),
    "unknown granularity": ("spec.quantization.granularity", "PerBlock", '"Auto", "PerTensor", "PerChannel"'),
    "no evaluation": ("spec.quantization.maxEvaluations", 0, "greater than or equal to 1"),
    "evaluations without end": ("spec.quantization.maxEvaluations", 10_001, "less than or equal to 10000"),
    "an unknown method": ("spec.quantization.calibration.method", "Magic", '"Auto", "MinMax", "Percentile"'),
    "16 bits at run time": (
        "spec.quantization",
        {"strategy": "Dynamic", "activations": "UInt16", "calibration": {"data": SOURCE}},
        "UInt8 activations only",
        "spec.quantization.activations",
    ),
    "full range on any CPU": ("spec.quantization.weights", "FullRange", "need runtime.nodeSelector"),
    "a verdict that is never rolled out": (
        "spec.benefit.accept",
        ["OverBudget"],
        '"SizeOnly", "Inconclusive"',
        "spec.benefit.accept[0]",
    ),
    "a verdict twice": (
        "spec.benefit.accept",
        ["SizeOnly", "SizeOnly"],
        "Duplicate value",
        "spec.benefit.accept[1]",
    ),
    "a size of less than nothing": ("spec.benefit.minSizeReduction", 1.5, "less than or equal to 1"),
    "an unknown way back": ("spec.rollback.to", "PreviousArtifact", '"Incumbent", "Float", "SaferArtifact"'),
    "a claim without a file": ("spec.model.uri", "pvc://models", "should match"),
    "a claim that is climbed out of": ("spec.model.uri", "pvc://models/../etc/passwd", "should match"),
    "a bucket without a key": ("spec.model.uri", "s3://models/", "should match"),
    "Provided without a model": ("spec.quantization.strategy", "Provided", "strategy Provided needs provided"),
    "a search without data": (
        "spec.quantization.calibration",
        REMOVED,
        "strategies Auto, Static and Dynamic need calibration",
        "spec.quantization.strategy",
    ),
    "Dynamic without data to tune on": (
        "spec.quantization",
        {"strategy": "Dynamic"},
        "strategies Auto, Static and Dynamic need calibration",
        "spec.quantization.strategy",
    ),
    "an unknown mode": ("spec.rollout.mode", "Off", '"Auto", "Paused", "FloatOnly"'),
    "an engine that is not there": ("spec.runtime.type", "Seldon", '"OnnxRuntime", "Triton", "Custom"'),
    "Triton by tag": ("spec.runtime", TRITON_BY_TAG, "should match", "spec.runtime.server.image"),
    "Triton without an image": ("spec.runtime.type", "Triton", "types Triton and Custom need server", SERVER),
    "a server that nothing uses": ("spec.runtime", {"server": {"image": TRITON}}, "OnnxRuntime has none", SERVER),
    "a server at the front's port": (
        "spec.runtime",
        {"type": "Triton", "server": {"image": TRITON, "port": 9090}},
        "are the front's own",
        f"{SERVER}.port",
    ),
    "negative replicas": ("spec.runtime.replicas", -1, "greater than or equal to 1"),
    "replicas in words": ("spec.runtime.replicas", "two", "must be of type integer"),
    "a duration without a unit": ("spec.rollout.dwell", "120", "should match"),
    "a duration of days": ("spec.rollout.dwell", "1d", "should match"),
    "a dwell of nothing": ("spec.rollout.dwell", "0s", "between 1s and 24h"),
    "a latency budget of an hour": ("spec.gates.latency.p99", "1h", "between 1ms and 60s"),
    "a mismatch budget of everything": ("spec.gates.mismatch", 1, "less than 1"),
    "an error budget of nothing": ("spec.gates.errors", 0, "greater than 0"),
    "a shadow of nothing": ("spec.rollout.shadow.ratio", 0, "greater than 0"),
    "CPU in words": (f"{RESOURCES}.cpu", "one", "should match"),
    "no CPU": (f"{RESOURCES}.cpu", "0", "above 0"),
    "memory without a unit": (f"{RESOURCES}.memory", "512", "should match"),
    "no memory": (f"{RESOURCES}.memory", "0Mi", "above 0"),
    "a toleration of nothing": ("spec.runtime.tolerations", [{}], "Equal needs a key", "spec.runtime.tolerations[0]"),
    "a node label with a space": ("spec.runtime.nodeSelector.disk", "a b", "should match"),
    "no gateway": (f"{ROUTE}.parentRefs", [], "at least 1 items"),
    "a gateway in capitals": (f"{ROUTE}.parentRefs", [{"name": "G"}], "should match", f"{ROUTE}.parentRefs[0].name"),
    "a host with a port": (f"{ROUTE}.hostnames", ["models.example:80"], "should match", f"{ROUTE}.hostnames[0]"),
    "a path that climbs": (f"{ROUTE}.path", "/v2/../admin", "should match"),
    "a header with a newline": (HEADER, {"name": "a\nb", "value": "1"}, "match", f"{HEADER}.name"),
    "a header without a value": (HEADER, {"name": "a"}, "Required value", f"{HEADER}.value"),
    "a retry that is no digest": ("spec.rollout.retry", "latest", "should match"),
    "a name with dots": ("metadata.name", "files.v1", "no dots"),
    "a name of 41 characters": ("metadata.name", "m" * 41, "at most 40 characters"),
    "a name that starts with a digit": ("metadata.name", "3files", "start with a letter"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_refused_with_its_field(models: Any, good: dict[str, Any], case: str) -> None:
    path, value, said, *elsewhere = BAD[case]
    field = elsewhere[0] if elsewhere else path
    put(good, path, value)
    with pytest.raises(DynamicApiError) as caught:
        accept(models, good)
    assert caught.value.status == 422
    assert re.search(rf"(^|[ \[]){re.escape(field)}: .*{re.escape(said)}", refusal(caught.value)), refusal(caught.value)


def test_an_unknown_field_is_refused_when_the_client_asks_for_it(models: Any, good: dict[str, Any]) -> None:
    good["spec"]["rollout"] = {"stepz": [100]}
    with pytest.raises(DynamicApiError) as caught:
        accept(models, good)
    assert caught.value.status == 400
    assert 'unknown field "spec.rollout.stepz"' in refusal(caught.value)


def test_an_unknown_field_is_dropped_when_the_client_does_not_care(models: Any, good: dict[str, Any]) -> None:
    good["spec"]["encryption"] = {"below": 0.6}
    stored = models.create(
        body=good, namespace="default", dry_run="All", query_params=[("fieldValidation", "Ignore")]
    ).to_dict()
    assert "encryption" not in stored["spec"]


@pytest.fixture
def stored(models: Any, good: dict[str, Any]) -> Iterator[dict[str, Any]]:
    good["metadata"]["name"] = "stored"
    yield models.create(body=good, namespace="default").to_dict()
    models.delete(name="stored", namespace="default")


def status() -> dict[str, Any]:
    ready = Condition.model_validate(
        {
            "type": "Ready",
            "status": "True",
            "reason": "Canary",
            "message": "float and INT8 serve",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    )
    return {
        "observedGeneration": 1,
        "stage": "Canary",
        "because": "step 5 of 100",
        "weight": "5 %",
        "mismatch": "0.4 %",
        "p99": "12ms",
        "verdict": "Beneficial",
        "conditions": [ready.model_dump(mode="json", by_alias=True)],
    }


def write_status(models: Any, value: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "stored"}, "status": value}
    answer: dict[str, Any] = models.status.patch(
        body=body, name="stored", namespace="default", content_type="application/merge-patch+json"
    ).to_dict()
    return answer


def test_spec_and_status_are_written_apart(models: Any, stored: dict[str, Any]) -> None:
    patch = {"metadata": {"name": "stored"}, "spec": {"rollout": {"mode": "Paused"}}, "status": {"stage": "Promoted"}}
    after_spec = models.patch(
        body=patch, name="stored", namespace="default", content_type="application/merge-patch+json"
    ).to_dict()
    assert after_spec["spec"]["rollout"]["mode"] == "Paused"
    assert "status" not in after_spec
    assert after_spec["metadata"]["generation"] == stored["metadata"]["generation"] + 1

    after_status = write_status(models, status() | {"stage": "Held"})
    assert after_status["status"]["stage"] == "Held"
    assert after_status["metadata"]["generation"] == after_spec["metadata"]["generation"]


@pytest.mark.usefixtures("stored")
def test_a_status_holds_only_what_was_written(models: Any) -> None:
    written = write_status(models, status())["status"]
    assert written == status()
    assert QuantizedModelStatus.model_validate(written).stage == "Canary"


@pytest.mark.usefixtures("stored")
def test_a_status_out_of_bounds_is_refused(models: Any) -> None:
    with pytest.raises(DynamicApiError) as caught:
        write_status(
            models, status() | {"weights": [{"variant": "int8", "digest": SHA, "desired": 1001, "observed": 0}]}
        )
    assert "status.weights[0].desired" in refusal(caught.value)


@pytest.mark.usefixtures("stored")
def test_weights_are_merged_by_digest(models: Any) -> None:
    weight = {"variant": "int8", "digest": SHA, "desired": 10, "observed": 0}
    with pytest.raises(DynamicApiError) as caught:
        write_status(models, status() | {"weights": [weight, weight]})
    assert "status.weights[1]: Duplicate value" in refusal(caught.value)


def test_a_provided_model_has_no_safer_one_to_fall_back_on(models: Any, good: dict[str, Any]) -> None:
    good["spec"] |= {"quantization": {"strategy": "Provided", "provided": SOURCE}, "rollback": {"to": "SaferArtifact"}}
    with pytest.raises(DynamicApiError) as caught:
        accept(models, good)
    assert "spec.rollback.to: " in refusal(caught.value)
    assert "strategy Provided has no safer artifact" in refusal(caught.value)


def test_the_mismatch_gate_has_no_default_of_its_own(models: Any, good: dict[str, Any]) -> None:
    assert "mismatch" not in accept(models, good)["spec"]["gates"]


def applied_status(client: DynamicClient, value: dict[str, Any]) -> dict[str, Any]:
    """As the operator writes it: server-side apply of the whole status."""
    models = client.resources.get(api_version=names.API_VERSION, kind=names.KIND)
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "stored", "namespace": "default"},
        "status": value,
    }
    answer: dict[str, Any] = models.status.server_side_apply(
        body=body, name="stored", namespace="default", field_manager="quanary"
    ).to_dict()["status"]
    return answer


@pytest.mark.usefixtures("stored")
def test_the_ledger_of_the_seal_is_kept_by_data_and_number(client: DynamicClient) -> None:
    first, second = ({"data": SHA, "number": number, "artifacts": [SHA]} for number in (1, 2))
    assert applied_status(client, status() | {"seal": [first, second]})["seal"] == [first, second]
    with pytest.raises(DynamicApiError, match="duplicate entries for key"):
        applied_status(client, status() | {"seal": [first, first]})


@pytest.mark.usefixtures("stored")
def test_the_front_is_kept_by_digest_and_goes_with_its_search(client: DynamicClient) -> None:
    entries = [
        FrontArtifact(digest=digest * 64, uri="oci://r/a", role=role).model_dump(mode="json", by_alias=True)
        for digest, role in (("a", "safest"), ("b", "safer"))
    ]
    assert applied_status(client, status() | {"front": entries})["front"] == entries
    assert applied_status(client, status() | {"front": entries[:1]})["front"] == entries[:1]
    assert "front" not in applied_status(client, status())


@pytest.mark.usefixtures("stored")
def test_the_table_of_kubectl_get_shows_the_rollout(client: DynamicClient, models: Any) -> None:
    write_status(models, status())
    table = client.request(
        "get",
        models.path(namespace="default"),
        header_params={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"},
    ).to_dict()
    columns = [each["name"] for each in table["columnDefinitions"]]
    assert columns == ["Name", *(each.name for each in COLUMNS)]
    [row] = table["rows"]
    cells = dict(zip(columns, row["cells"], strict=True))
    assert {
        key: cells[key] for key in ("Name", "Stage", "Weight", "Mismatch", "P99", "Verdict", "Ready", "Because")
    } == {
        "Name": "stored",
        "Stage": "Canary",
        "Weight": "5 %",
        "Mismatch": "0.4 %",
        "P99": "12ms",
        "Verdict": "Beneficial",
        "Ready": "True",
        "Because": "step 5 of 100",
    }
    assert [each["name"] for each in table["columnDefinitions"] if each["priority"]] == ["Because"]
