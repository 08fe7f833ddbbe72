"""The QuantizedModel resource, version v1alpha1: every field's type, bound, default and prose in one place.

The CRD, the chart's copy and the reference in docs/ are generated from here (`api.crd`). Rules across fields are CEL
expressions in `RULES` of each model, so that a real API server refuses what breaks them.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from quanary.api.quantities import Digest, Duration, OciRepository, OpenRatio, Ratio, Uri

# Host and object names as the Gateway API takes them, so that what it would refuse is refused here already.
_DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class Rule(BaseModel):
    """A CEL rule across fields and what a user is told who breaks it."""

    model_config = ConfigDict(frozen=True)

    cel: str
    message: str
    field_path: str = ""


class Spec(BaseModel):
    """Base of every part of the resource: camel case outside, unknown keys ignored (the API server prunes them)."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, use_attribute_docstrings=True
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()


def keyed_by(*fields: str) -> dict[str, JsonValue]:
    """Marks a list as a map by fields of its items, so that server-side apply merges item by item."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(fields)}


class Source(Spec):
    """A file and what it must hash to."""

    uri: Uri
    """Where the file is: `oci://registry/repository:tag`, `https://host/path`, `s3://bucket/key`, `gs://bucket/key`, or
    `pvc://claim/path`: a PersistentVolumeClaim of the namespace, mounted read-only into every pod that reads it. A
    bucket must be public or, of s3, open to the web identity of the namespace's default service account."""
    sha256: Digest
    """Its sha256. A file that hashes to anything else is refused before it is opened."""


class Toleration(Spec):
    """A taint that pods of this model tolerate, as in a pod spec."""

    RULES: ClassVar = (
        Rule(
            cel="self.operator == 'Exists' ? self.value == '' : self.key != ''",
            message="operator Exists takes no value; operator Equal needs a key",
        ),
    )

    key: Annotated[str, Field(max_length=317)] = ""
    """The taint's key; empty with operator Exists matches all."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How key and value are compared."""
    value: Annotated[str, Field(max_length=63)] = ""
    """The taint's value."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """The taint's effect; empty matches all."""


class Resources(Spec):
    """CPU and memory of one serving pod; the quantizer gets the same CPU limit, so that its benefit figures hold."""

    RULES: ClassVar = (
        Rule(
            cel="quantity(self.cpu).isGreaterThan(quantity('0'))",
            message="cpu must be above 0, such as 500m or 2",
            field_path="cpu",
        ),
        Rule(
            cel="quantity(self.memory).isGreaterThan(quantity('0'))",
            message="memory must be above 0, such as 512Mi",
            field_path="memory",
        ),
    )

    cpu: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]{1,3}|m)?$", max_length=16)] = "1"
    """CPU request and limit. Threads of an inference follow it."""
    memory: Annotated[str, Field(pattern=r"^[0-9]+(Ki|Mi|Gi)$", max_length=16)] = "512Mi"
    """Memory request and limit."""


class InferenceServer(Spec):
    """A server of the Open Inference Protocol that runs the model behind Quanary's front, in the same pod."""

    RULES: ClassVar = (
        Rule(
            cel="!(self.port in [8080, 8081, 9000, 9090])",
            message="ports 8080, 8081, 9000 and 9090 are the front's own",
            field_path="port",
        ),
    )

    image: Annotated[str, Field(max_length=512, pattern=r"^[^\s@]+@sha256:[a-f0-9]{64}$")]
    """Its image, by digest. The operator's settings say which are allowed."""
    args: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=64)] = ()
    """Its arguments; Triton's follow from the model if there are none. The model lies in /models/repository as Triton
    wants it: `<name>/config.pbtxt` and `<name>/1/model.onnx`."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Where it speaks HTTP, on the pod's loopback address."""
    front: Resources = Resources(cpu="500m", memory="256Mi")
    """CPU and memory of the front; `runtime.resources` are those of this server, that runs the model."""


class Runtime(Spec):
    """How both variants are served."""

    RULES: ClassVar = (
        Rule(
            cel="self.type == 'OnnxRuntime' ? !has(self.server) : has(self.server)",
            message="types Triton and Custom need server; type OnnxRuntime has none",
            field_path="server",
        ),
    )

    type: Literal["OnnxRuntime", "Triton", "Custom"] = "OnnxRuntime"
    """What runs the model: ONNX Runtime in Quanary's own server, Triton, or any other server of the Open Inference
    Protocol behind it."""
    server: InferenceServer | None = None
    """The server of types Triton and Custom."""
    image: Annotated[str, Field(max_length=512, pattern=r"^[^\s]*$")] = ""
    """The runtime image, if not the operator's default. The operator's settings say which are allowed."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Pods of each variant."""
    resources: Resources = Resources()
    """CPU and memory of what runs the model, in each pod."""
    node_selector: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]],
        Field(max_length=16),
    ] = {}
    """Nodes that pods of this model, the quantizer's too, may run on."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that these pods tolerate."""


class Calibration(Spec):
    """What the quantizer learns activation ranges from."""

    data: Source
    """A tar of .npz shards or a Parquet file: arrays keyed by the model's input names, first axis = samples."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Samples to use at most."""
    method: Literal["Auto", "MinMax", "Percentile", "Entropy", "MeanSquaredError"] = "Auto"
    """How a range follows from what was seen; Auto takes the one that does best on tuning samples."""


class Quantization(Spec):
    """How the INT8 variant is made."""

    RULES: ClassVar = (
        Rule(
            cel="self.strategy == 'Provided' ? has(self.provided) : has(self.calibration)",
            message="strategies Auto, Static and Dynamic need calibration; strategy Provided needs provided",
            field_path="strategy",
        ),
        Rule(
            cel="self.strategy != 'Dynamic' || self.activations != 'UInt16'",
            message="strategy Dynamic has UInt8 activations only",
            field_path="activations",
        ),
    )

    strategy: Literal["Auto", "Static", "Dynamic", "Provided"] = "Auto"
    """Auto: search for the best within the budget. Static: activation ranges from calibration data. Dynamic: at run
    time, MatMul and LSTM only. Provided: judge an INT8 model that was brought along."""
    provided: Source | None = None
    """The INT8 model of strategy Provided; it passes the same gates."""
    activations: Literal["Auto", "UInt8", "UInt16"] = "Auto"
    """Type of quantized activations. UInt16 is accurate and small, but hardly ever fast."""
    granularity: Literal["Auto", "PerTensor", "PerChannel"] = "Auto"
    """Scales of a weight: one, or one a channel."""
    objective: Literal["Latency", "Size"] = "Latency"
    """What is minimised within the budget; with Size, let `benefit.accept` name SizeOnly too."""
    weights: Literal["Portable", "FullRange"] = "Portable"
    """Portable: 7 bits, the same results on CPUs with and without VNNI. FullRange: 8 bits; its certificate holds on one
    kind of CPU alone, to which `runtime.nodeSelector` must pin Job and pods."""
    max_evaluations: Annotated[int, Field(ge=1, le=10_000)] = 150
    """Candidates and layers that the search may try."""
    keep_float: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256)] = ()
    """Nodes to leave in float, by name or shell pattern; a name that matches no node is refused."""
    calibration: Calibration | None = None
    """Calibration and tuning data; needed by all strategies but Provided."""


class Validation(Spec):
    """The sealed data that certify an artifact, and the drop that is allowed."""

    RULES: ClassVar = (
        Rule(
            cel="self.metric == 'RecallAtK' || self.k == 1",
            message="k belongs to metric RecallAtK",
            field_path="k",
        ),
    )

    data: Source
    """As for calibration, with an array `label` for every metric but Agreement and Cosine."""
    metric: Literal[
        "Agreement", "Accuracy", "F1", "F1Binary", "RocAuc", "Mae", "Rmse", "Cosine", "RecallAtK", "Wer", "Cer"
    ] = "Agreement"
    """Agreement: same top-1 class as float. Cosine: similarity to float's output. All others against `label`: top-1
    class, F1 over all classes or of class 1 alone, area under the ROC curve, mean absolute or root mean square error
    (relative to float's), label among the `k` best, word or character error rate."""
    k: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many of the best answers metric RecallAtK looks at."""
    max_drop: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """The budget: the upper bound of the drop against float must not exceed it."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """Confidence of that one-sided bound."""


class Benefit(Spec):
    """When a certified artifact is worth it on this CPU."""

    min_speedup: Annotated[float, Field(ge=0.1, le=100)] = 1.1
    """FP32 time over INT8 time, at the serving pod's CPU limit: from here on it is Beneficial."""
    min_size_reduction: Ratio = 0.25
    """Share of the file's size saved: from here on an artifact that is not faster is SizeOnly."""
    required: bool = True
    """Whether an artifact that is certified, but neither Beneficial nor accepted below, is rejected."""
    accept: Annotated[
        tuple[Literal["SizeOnly", "Inconclusive"], ...],
        Field(max_length=2, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = ()
    """Verdicts that are rolled out besides Beneficial: smaller but not faster, or not clearly faster."""


class LatencyGate(Spec):
    """The latency budget."""

    RULES: ClassVar = (
        Rule(
            cel="duration(self.p99) >= duration('1ms') && duration(self.p99) <= duration('60s')",
            message="p99 must lie between 1ms and 60s",
            field_path="p99",
        ),
    )

    p99: Duration = timedelta(milliseconds=100)
    """At most 1 % of answers may take longer."""


class Divergence(Spec):
    """When two answers to the same input differ."""

    RULES: ClassVar = (
        Rule(
            cel="(self.measure == 'Top1') == (self.limit == 0.0)",
            message="every measure but Top1 needs a limit above 0, and Top1 has none",
            field_path="limit",
        ),
        # At the largest value there is, nothing would ever differ.
        Rule(
            cel="self.limit < (self.measure == 'BoxOverlap' ? 1.0 : self.measure == 'Cosine' ? 2.0 : "
            "self.measure == 'KullbackLeibler' ? 13.0 : 1000001.0)",
            message="limit must be below 1 for BoxOverlap, below 2 for Cosine and below 13 for KullbackLeibler",
            field_path="limit",
        ),
    )

    measure: Literal["Top1", "KullbackLeibler", "Cosine", "BoxOverlap", "Tolerance"] = "Top1"
    """Top1: another class, or another side of 0.5. KullbackLeibler: of probabilities, in nats. Cosine: 1 - similarity,
    for embeddings. BoxOverlap: 1 - the least overlap (IoU) of paired boxes [x1, y1, x2, y2]. Tolerance: the largest
    difference relative to float's largest value, for regressions."""
    limit: Annotated[float, Field(ge=0, le=1e6)] = 0
    """Answers further apart than this differ; Top1 has none."""
    output: Annotated[str, Field(max_length=256)] = ""
    """The output to compare; the model's first if empty."""


class Gates(Spec):
    """Budgets watched on live traffic. A gate with evidence over its budget rolls the artifact back."""

    mismatch: OpenRatio | None = None
    """Share of compared answers that may differ from float's; if absent, twice the upper bound of the artifact's sealed
    disagreement, between 0.02 and 0.5."""
    errors: OpenRatio = 0.001
    """Share of requests that may fail (5xx, or no answer at the deadline)."""
    latency: LatencyGate = LatencyGate()
    """The latency budget."""
    divergence: Divergence = Divergence()
    """What the mismatch gate counts: when two answers differ."""
    input_range: OpenRatio | None = None
    """Share of requests that may hold a value outside the calibrated range; if absent, three times the share that
    tuning data had. Over it the rollout is held, for the artifact was not judged on such inputs."""
    input_drift: OpenRatio = 0.05
    """Share of stretches of requests whose values may be distributed unlike those of calibration; over it the rollout
    is held."""


class Shadow(Spec):
    """Comparison of live answers."""

    ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of distinct inputs whose answers are compared with the twin's."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Comparisons of distinct inputs needed at weight 0 before the first step."""


class Rollout(Spec):
    """How traffic moves to an artifact that was certified."""

    RULES: ClassVar = (
        Rule(
            cel="self.steps[self.steps.size() - 1] == 100",
            message="steps must end with 100",
            field_path="steps",
        ),
        Rule(
            cel="self.steps.isSorted() && self.steps.all(i, self.steps.exists_one(j, j == i))",
            message="steps must rise strictly",
            field_path="steps",
        ),
        Rule(
            cel="duration(self.dwell) >= duration('1s') && duration(self.dwell) <= duration('24h')",
            message="dwell must lie between 1s and 24h",
            field_path="dwell",
        ),
    )

    shadow: Shadow = Shadow()
    """Comparison at weight 0 and after."""
    steps: Annotated[tuple[Annotated[int, Field(ge=1, le=100)], ...], Field(min_length=1, max_length=20)] = (
        1,
        5,
        25,
        50,
        100,
    )
    """Percent of traffic that INT8 gets, step by step."""
    dwell: Duration = timedelta(seconds=120)
    """The least time at a step."""
    retry: Annotated[str, Field(pattern=r"^([a-f0-9]{64})?$", max_length=64)] = ""
    """The digest of a condemned artifact to trust once more, unless a safer one has taken over from it."""
    mode: Literal["Auto", "Paused", "FloatOnly"] = "Auto"
    """Auto: go on. Paused: nothing forward, retreat and rollback still work. FloatOnly: float alone, at once."""


class Rollback(Spec):
    """What serves after an artifact was condemned."""

    to: Literal["Incumbent", "Float", "SaferArtifact"] = "Incumbent"
    """Incumbent: the artifact promoted before, else float. Float: float alone, if it has ready pods at that moment.
    SaferArtifact: the incumbent at once, then the next safer certified artifact of the same search, proven from shadow
    like any other."""


class Header(Spec):
    """A request header by exact value."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", min_length=1, max_length=256)]
    """The header's name."""
    value: Annotated[str, Field(pattern=r"^[!-+.-~-]([ -+.-~-]*[!-+.-~-])?$", min_length=1, max_length=256)]
    """Its exact value: printable ASCII, no comma, no blank at its ends. One in a list counts too."""


class Critical(Spec):
    """Requests that float always answers."""

    RULES: ClassVar = (
        Rule(
            cel="self.path != '/v2' && !self.path.startsWith('/v2/')",
            message="path must not be one of the protocol's own, as /v2",
            field_path="path",
        ),
    )

    header: Header = Header(name="x-critical", value="true")
    """The header that marks them."""
    path: Annotated[str, Field(pattern=r"^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?$", max_length=1024)] = ""
    """A path prefix that marks them as well, such as `/critical`, before `/v2/models/<name>`; none if empty."""


class Escalation(Spec):
    """What becomes of INT8 answers of low confidence."""

    RULES: ClassVar = (
        Rule(
            cel="self.to != 'Review' || self.sink != ''",
            message="to Review needs a sink",
            field_path="sink",
        ),
        Rule(
            cel="self.confidence != 'Output' || self.output != ''",
            message="confidence Output needs the name of an output",
            field_path="output",
        ),
    )

    below: Annotated[float, Field(gt=0, le=1)]
    """An answer is escalated if its confidence is below this."""
    confidence: Literal["Softmax", "Margin", "Output"] = "Softmax"
    """Softmax: the largest probability. Margin: the largest less the next one. Output: what the named output says."""
    output: Annotated[str, Field(max_length=256)] = ""
    """The output that confidence is read from; the model's first if empty."""
    to: Literal["Float", "Review"] = "Float"
    """Float: float answers instead. Review: INT8 answers; both question and answer go to `sink` as a CloudEvent."""
    sink: Annotated[str, Field(pattern=r"^(https?://[^\s@#]+)?$", max_length=1024)] = ""
    """Where reviews are sent, by HTTP, as CloudEvents in batched mode."""
    budget: OpenRatio = 0.1
    """Share of requests that may be escalated, so that drift cannot overload float; the rest is answered by INT8."""


class ParentRef(Spec):
    """A Gateway that admits the route."""

    name: Annotated[str, Field(pattern=_DNS_NAME, min_length=1, max_length=253)]
    """The Gateway's name."""
    namespace: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)] = ""
    """Its namespace, if not the resource's own."""
    section_name: Annotated[str, Field(pattern=rf"^$|{_DNS_NAME}", max_length=253)] = ""
    """One listener of it, if not all."""


class Route(Spec):
    """Where users reach the model."""

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=8)]
    """The Gateways of the route."""
    hostnames: Annotated[
        tuple[Annotated[str, Field(pattern=rf"^(\*\.)?{_DNS_NAME[1:]}", min_length=1, max_length=253)], ...],
        Field(max_length=16),
    ] = ()
    """Host names; none means any, and no gRPC: its calls say in their message alone which model they are for."""
    path: Annotated[str, Field(pattern=r"^(/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?$", max_length=1024)] = ""
    """Path prefix that stands for `/v2/models/<name>`, which it is if empty; `/` and `/v2` lead there as they are."""


class QuantizedModelSpec(Spec):
    """What a team asks for."""

    RULES: ClassVar = (
        Rule(
            cel="self.quantization.weights != 'FullRange' || self.runtime.nodeSelector.size() > 0",
            message="weights FullRange need runtime.nodeSelector: the certificate holds on one kind of CPU only",
            field_path="quantization.weights",
        ),
        Rule(
            cel="self.rollback.to != 'SaferArtifact' || self.quantization.strategy != 'Provided'",
            message="strategy Provided has no safer artifact to go to",
            field_path="rollback.to",
        ),
    )

    model: Source
    """The float ONNX model."""
    artifacts: "Artifacts"
    """Where made artifacts are published."""
    quantization: Quantization
    """How the INT8 variant is made."""
    validation: Validation
    """How it is certified."""
    route: Route
    """Where users reach it."""
    runtime: Runtime = Runtime()
    """How both variants are served."""
    benefit: Benefit = Benefit()
    """When INT8 is worth it."""
    gates: Gates = Gates()
    """Budgets on live traffic."""
    rollout: Rollout = Rollout()
    """How traffic moves."""
    rollback: Rollback = Rollback()
    """What serves after an artifact was condemned."""
    critical: Critical = Critical()
    """Requests that float always answers."""
    escalation: Escalation | None = None
    """What becomes of INT8 answers of low confidence; if absent, nothing."""


class Artifacts(Spec):
    """Where made artifacts live."""

    repository: OciRepository
    """The OCI repository the quantizer publishes to."""


class Stage(StrEnum):
    """Where the rollout is."""

    PENDING = "Pending"
    SERVING_FLOAT = "ServingFloat"
    QUANTIZING = "Quantizing"
    SHADOWING = "Shadowing"
    CANARY = "Canary"
    PROMOTED = "Promoted"
    HELD = "Held"
    ROLLED_BACK = "RolledBack"
    REJECTED = "Rejected"
    STALLED = "Stalled"


class Verdict(StrEnum):
    """The quantizer's word on an artifact, worst first."""

    OVER_BUDGET = "OverBudget"
    NOT_CERTIFIABLE = "NotCertifiable"
    NOT_BENEFICIAL = "NotBeneficial"
    SIZE_ONLY = "SizeOnly"
    INCONCLUSIVE = "Inconclusive"
    BENEFICIAL = "Beneficial"


class Signoff(Spec):
    """The sealed data's word on an artifact."""

    metric: Annotated[str, Field(max_length=64)]
    """What was measured."""
    float_: float = Field(alias="float")
    """The float model's metric."""
    int8: float
    """The artifact's metric."""
    drop: float
    """float - int8."""
    drop_upper_bound: float
    """One-sided upper bound of the drop."""
    samples: int
    """Sealed samples used."""
    disagreement: float
    """Share of sealed samples on which both models answer differently."""
    disagreement_upper_bound: float
    """Its one-sided upper bound."""
    disagreement_lower_bound: float = 0
    """Its one-sided lower bound; above the mismatch gate the artifact is rejected at once."""


class Artifact(Spec):
    """An INT8 model as the quantizer handed it over."""

    digest: Digest
    """sha256 of its model file: its identity."""
    uri: Annotated[str, Field(max_length=512)] = ""
    """Where it was published."""
    inputs: Annotated[str, Field(max_length=64)] = ""
    """Digest of what it was made from."""
    verdict: Verdict
    """The quantizer's word."""
    because: Annotated[str, Field(max_length=512)] = ""
    """The verdict in a sentence."""
    size_ratio: float = 0
    """INT8 size over FP32 size."""
    latency_ratio: float = 0
    """FP32 time over INT8 time."""
    signoff: Signoff | None = None
    """The sealed data's figures."""
    disagreement_upper_bound: float = 0
    """Sealed upper bound of the share of answers that differ from float's; the default mismatch gate is twice that."""
    out_of_range_budget: float = 0
    """Share of requests that may hold a value outside the calibrated range; 0 if unknown."""
    role: Annotated[str, Field(max_length=32)] = ""
    """Its place in the front, if it took over from a condemned artifact; else empty."""
    portable: bool = True
    """Whether it computes the same on CPUs with and without VNNI."""
    cpu_features: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16)] = ()
    """CPU features it was certified on; if it is not portable, its servers refuse any others."""


class FrontArtifact(Spec):
    """A certified artifact of the same search that was not chosen."""

    digest: Digest
    """sha256 of its model file."""
    uri: Annotated[str, Field(max_length=512)] = ""
    """Where it was published."""
    inputs: Annotated[str, Field(max_length=64)] = ""
    """Digest of what it was made from."""
    role: Annotated[str, Field(max_length=32)]
    """safest, safer, fastest or smallest."""
    safer: bool = False
    """Whether it is safer than the artifact that was chosen."""
    size_ratio: float = 0
    """INT8 size over FP32 size."""
    drop_upper_bound: float = 0
    """Sealed upper bound of the drop."""
    disagreement_upper_bound: float = 0
    """Sealed upper bound of the share of answers that differ from float's."""
    portable: bool = True
    """Whether it computes the same on CPUs with and without VNNI."""
    cpu_features: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16)] = ()
    """CPU features it was certified on."""


class SealOpening(Spec):
    """One opening of sealed data: the next one on the same data is judged more strictly."""

    data: Digest
    """sha256 of the sealed data's samples, however they are packed; of their file in openings from before."""
    number: Annotated[int, Field(ge=1)]
    """1 for the first."""
    artifacts: Annotated[tuple[Digest, ...], Field(max_length=8)] = ()
    """sha256 of each artifact that was judged."""


class Condemned(Spec):
    """An artifact that was rolled back on evidence."""

    digest: Digest
    """Which one."""
    reason: Annotated[str, Field(max_length=256)]
    """Why."""
    at: AwareDatetime
    """When."""


class Weight(Spec):
    """Traffic of one variant, in thousandths."""

    variant: Literal["float", "int8"]
    """Which variant."""
    digest: Annotated[str, Field(max_length=64)]
    """Which model file."""
    desired: Annotated[int, Field(ge=0, le=1000)]
    """What the operator asks of the route."""
    observed: Annotated[int, Field(ge=0, le=1000)]
    """What the route says."""


class GateStatus(Spec):
    """What a gate has gathered."""

    name: Annotated[str, Field(max_length=64)]
    """Which gate."""
    samples: Annotated[int, Field(ge=0)] = 0
    """Observations so far."""
    rate: float = 0
    """Share of bad ones."""
    budget: float = 0
    """Share allowed."""
    rollback_evidence: Ratio = 0
    """0: none. 1: enough to roll back."""
    safety_evidence: Ratio = 0
    """0: none. 1: proven within budget. Of a gate that holds: how near the end of that is."""
    holds: bool = False
    """Whether it holds the rollout; a gate of the inputs does nothing else."""


class Progress(Spec):
    """Where the candidate stands; written before it is acted on, so that a restart repeats and skips nothing."""

    step: Annotated[int, Field(ge=0, le=100)] = 0
    """Percent the candidate is allowed now; 0 in shadow."""
    since: AwareDatetime | None = None
    """When that step began."""
    compared_at_start: Annotated[int, Field(ge=0)] = 0
    """Distinct comparisons when it began."""
    resume_step: Annotated[int, Field(ge=0, le=100)] = 0
    """The step to come back to after a retreat."""
    retreats: Annotated[tuple[AwareDatetime, ...], Field(max_length=8)] = ()
    """When fast evidence took it off traffic."""
    retried: Annotated[str, Field(max_length=64)] = ""
    """The condemned digest that `rollout.retry` has already been honoured for."""


class HistoryEntry(Spec):
    """One thing that happened."""

    at: AwareDatetime
    """When."""
    stage: Stage
    """The stage entered."""
    because: Annotated[str, Field(max_length=512)]
    """Why."""


class Condition(Spec):
    """A Kubernetes condition."""

    type: Annotated[str, Field(max_length=64)]
    """Which condition."""
    status: Literal["True", "False", "Unknown"]
    """Its state."""
    reason: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=128)]
    """One CamelCase word."""
    message: Annotated[str, Field(max_length=1024)]
    """A sentence for a person."""
    last_transition_time: AwareDatetime
    """When the state last changed."""
    observed_generation: int
    """The generation it speaks of."""


class Provenance(Spec):
    """What led to what is served now."""

    model: Annotated[str, Field(max_length=64)] = ""
    """sha256 of the float model."""
    calibration: Annotated[str, Field(max_length=64)] = ""
    """sha256 of the calibration data."""
    validation: Annotated[str, Field(max_length=64)] = ""
    """sha256 of the sealed data."""
    report: Annotated[str, Field(max_length=64)] = ""
    """sha256 of the artifact's report."""
    tools: Annotated[dict[str, Annotated[str, Field(max_length=128)]], Field(max_length=32)] = {}
    """Versions of what made it."""
    cpu_features: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=16)] = ()
    """CPU features it was judged on."""


class QuantizedModelStatus(Spec):
    """What the operator says back."""

    observed_generation: int = 0
    """The generation this status speaks of."""
    stage: Stage = Stage.PENDING
    """Where the rollout is."""
    because: Annotated[str, Field(max_length=1024)] = ""
    """Why, in a sentence."""
    serving: Literal["", "float", "int8", "both"] = ""
    """Which variants answer users now."""
    weight: Annotated[str, Field(max_length=16)] = ""
    """Share of traffic that INT8 has now."""
    mismatch: Annotated[str, Field(max_length=32)] = ""
    """Share of compared answers that differed."""
    p99: Annotated[str, Field(max_length=32)] = ""
    """99th percentile of the candidate's (or else float's) answers in the last minute."""
    verdict: Annotated[str, Field(max_length=32)] = ""
    """The quantizer's word on the newest artifact."""
    weights: Annotated[tuple[Weight, ...], Field(max_length=8, json_schema_extra=keyed_by("digest"))] = ()
    """Traffic by digest."""
    source: Source | None = None
    """The float model that serves."""
    candidate: Artifact | None = None
    """The artifact being proven or refused."""
    stable: Artifact | None = None
    """The artifact already promoted."""
    condemned: Annotated[tuple[Condemned, ...], Field(max_length=16, json_schema_extra=keyed_by("digest"))] = ()
    """Artifacts rolled back on evidence."""
    front: Annotated[tuple[FrontArtifact, ...], Field(max_length=3, json_schema_extra=keyed_by("digest"))] = ()
    """Certified artifacts of the newest search other than the one chosen, from the safest to the fastest."""
    seal: Annotated[tuple[SealOpening, ...], Field(max_length=16, json_schema_extra=keyed_by("data", "number"))] = ()
    """Openings of sealed data, the newest of each data set the longest; they outlive the spec they were made for."""
    progress: Progress = Progress()
    """Where the candidate stands."""
    gates: Annotated[tuple[GateStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    """Evidence by gate."""
    checkpoint: Annotated[str, Field(max_length=8192)] = ""
    """The evidence kernel's state, for a restart."""
    written_at: AwareDatetime | None = None
    """When this status was written."""
    provenance: Provenance | None = None
    """What led to the newest artifact."""
    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=10)] = ()
    """The last ten things that happened."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=keyed_by("type"))] = ()
    """Ready, Reconciling, Stalled, Quantized, Proven, RolledBack, RouteSupported."""


QuantizedModelSpec.model_rebuild()

# On the root: a name that leaves room for what is appended to it.
ROOT_RULES: Final = (
    Rule(
        cel="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message="a name must start with a letter, have at most 40 characters and no dots",
        field_path="metadata.name",
    ),
)


class Column(BaseModel):
    """A `kubectl get` column."""

    name: str
    path: str
    type: Literal["string", "date"] = "string"
    wide: bool = False


COLUMNS: Final = (
    Column(name="Stage", path=".status.stage"),
    Column(name="Weight", path=".status.weight"),
    Column(name="Mismatch", path=".status.mismatch"),
    Column(name="P99", path=".status.p99"),
    Column(name="Verdict", path=".status.verdict"),
    Column(name="Ready", path='.status.conditions[?(@.type=="Ready")].status'),
    Column(name="Age", path=".metadata.creationTimestamp", type="date"),
    Column(name="Because", path=".status.because", wide=True),
)

__all__ = ["COLUMNS", "ROOT_RULES", "QuantizedModelSpec", "QuantizedModelStatus", "Rule", "Stage"]
