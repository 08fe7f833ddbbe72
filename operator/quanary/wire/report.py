"""What the quantizer says of an artifact: report.json, and the handover that fits a termination message."""

import json
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from quanary.api.quantities import Digest
from quanary.api.v1alpha1 import Signoff, Verdict

# The kubelet cuts a termination message at 4,096 bytes.
HANDOVER_LIMIT_BYTES: Final = 3072
# Of one text in it.
TEXT_LIMIT: Final = 512
# Of the verdict's sentence, where it would not fit otherwise: a character may take six bytes.
BRIEF_LIMITS: Final = (128, 32)
# Of report.json: raised when a reader of the one before would misread it.
SCHEMA_VERSION: Final = 1

# What a run leaves in its folder, and what a published artifact has as layers.
REPORT_FILE: Final = "report.json"
# Many times the largest: who reads one of unknown origin must stay small.
REPORT_LIMIT_BYTES: Final = 16 << 20
PAGE_FILE: Final = "report.html"
STATEMENT_FILE: Final = "statement.json"
SIGNATURE_SUFFIX: Final = ".sig"  # of the model file's name

Settings = dict[str, str | int | float | bool | tuple[str, ...]]


class Wire(BaseModel):
    """Camel case outside, snake case inside; unknown keys are ignored so that versions can differ.

    A figure that is not finite (the divergence of a broken candidate) is written as `"Infinity"` or `"NaN"`: JSON has
    no number for it, and `null` would not read back.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, ser_json_inf_nan="strings")


class ArtifactFigures(Wire):
    """An INT8 model file. Ratios: size INT8 over FP32; latency FP32 over INT8 at p50 (above 1 is a gain)."""

    file: str
    sha256: str
    size_ratio: float
    latency_ratio: float
    portable: bool = Field(default=True, description="computes the same on CPUs with and without VNNI")


class ModelIdentity(Wire):
    """The float model, by the digest of its file."""

    sha256: str


class Refusal(Wire):
    """Why nothing was made: which field of the resource, what was found, what is allowed."""

    field: str
    found: str
    allowed: str

    @property
    def sentence(self) -> str:
        """The refusal as one line for a status."""
        return f"{self.field}: found {self.found}; allowed: {self.allowed}"

    def to_message(self) -> str:
        """`{"refusal": …}` for the termination log of a container that is not the quantizer."""
        return json.dumps({"refusal": self.model_dump(by_alias=True)})


class RefusedError(Exception):
    """What was asked for cannot be done, however often it is tried: a person must change the named field."""

    def __init__(self, field: str, found: str, allowed: str) -> None:
        clipped = {"found": clip(printable(found)), "allowed": clip(printable(allowed))}
        self.refusal = Refusal(field=field, **clipped)
        super().__init__(self.refusal.sentence)


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """Foreign text (names, URIs) may be of any length; a refusal must fit the handover."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """Foreign text for eyes: no control character that a terminal would obey, no direction mark that reorders it."""
    return "".join(
        each if each.isprintable() else " " if each.isspace() else "\N{REPLACEMENT CHARACTER}" for each in text
    )


class DataFigures(Wire):
    """A data set: a tar by the digest of its file, a folder by that of its sorted list of shards."""

    sha256: str
    shards: int
    samples: int
    used: int
    duplicates: int = Field(default=0, description="samples whose content an earlier one of the set has")
    groups: int = Field(default=0, description="distinct values of the array `group`; 0 without it")


class Exclusion(Wire):
    """A calibration sample that was left out, and the rule that did it."""

    where: str
    reason: str


class CalibrationFigures(DataFigures):
    """What activation ranges were learnt from."""

    methods: tuple[str, ...] = Field(default=(), description="that ranges were computed by")
    excluded: tuple[Exclusion, ...] = ()
    cache_key: str = Field(default="", description="model, normaliser, ordered samples, methods and tool versions")
    from_cache: bool = False


class TensorFigures(Wire):
    """Range of one quantized activation, and the share of calibration values that the range cuts off."""

    name: str
    low: float
    high: float
    clipped: float


class Interval(Wire):
    """A confidence interval."""

    low: float
    high: float


class SealedSignoff(Signoff):
    """The sealed data's figures behind a sign-off, and what it was judged by."""

    model_config = ConfigDict(ser_json_inf_nan="strings")  # as Wire

    lost: int = Field(default=0, description="samples on which float was right and the artifact is not")
    gained: int = Field(default=0, description="samples on which the artifact is right and float was not")
    confidence: float
    max_drop: float
    samples_needed: int | None = Field(default=None, description="at the observed rates, for NotCertifiable")
    groups: int = Field(default=0, description="of near-duplicates that were kept together; 0: samples are their own")
    interval: str = Field(default="", description="how the bound was computed, with its source")
    opening: int = Field(default=1, description="which opening of the seal this was; the error allowed shrinks with it")


class Opening(Wire):
    """One opening of the seal: these artifacts were certified on these data. The same again is free."""

    data: Digest = Field(description="sha256 of the sealed data's samples, however packed; of their file in old ones")
    number: int = Field(ge=1, description="1 for the first; opening j may err with alpha / (j (j + 1))")
    artifacts: tuple[Digest, ...] = Field(description="sha256 of each artifact that was judged")


class BatchFigures(Wire):
    """Time of one inference at one batch size. Ratios: FP32 over INT8, above 1 is a gain."""

    batch: int
    float_seconds: float = Field(description="CPU time of the thread (of several: of the process), median over blocks")
    int8_seconds: float
    ratio: float = Field(description="geometric mean over blocks")
    interval: Interval = Field(description="t-interval over blocks, at the confidence of this look")
    wall_ratio: float
    block_ratios: tuple[float, ...]


class BenefitFigures(Wire):
    """Whether INT8 pays on this CPU, measured in fresh processes."""

    latency_ratio: float = Field(description="at batch 1")
    batches: tuple[BatchFigures, ...]
    size_ratio: float
    memory_ratio: float = Field(description="INT8 over FP32, peak resident size of a serving process")
    cpu_seconds_float: float = Field(description="of one inference at batch 1, all threads")
    cpu_seconds_int8: float
    joules_float: float | None = Field(default=None, description="of one inference, where the CPU counts energy")
    joules_int8: float | None = None
    threads: int
    blocks: int
    looks: int = Field(description="how often the blocks were judged before they decided; each at a third of the error")
    min_speedup: float
    min_size_reduction: float


class GraphFigures(Wire):
    """What normalising and quantizing did to the graph."""

    opset_found: int
    opset: int
    steps: tuple[str, ...]
    largest_difference: float = Field(description="of any output, normalised against source, on real samples")
    quantized_nodes: tuple[str, ...]
    kept_float_nodes: tuple[str, ...]
    core_nodes_in_subgraphs: int
    sha256: str = Field(default="", description="of the normalised model")


class LayerFigures(Wire):
    """One layer alone in INT8, all others float: how far the outputs move on tuning samples."""

    node: str
    operator: str
    divergence: float
    kept_float: bool


class TrialFigures(Wire):
    """One candidate of the search, judged on tuning samples. Speed here is a quick look; benefit measures it."""

    recipe: str
    drop: float
    divergence: float
    size_ratio: float
    speedup: float
    in_budget: bool
    sha256: str = ""
    failure: str = Field(default="", description="why it could not be made or run")


class GapFigures(Wire):
    """The same file with the runtime's optimisations off: what the CPU's integer kernels add to the loss."""

    drop_on_kernels: float
    drop_emulated: float
    noise: float = Field(description="the gap that as many tuning samples show by chance, two-sided 95 %")
    saturates: bool
    remedy: str = Field(default="", description="what was done about it")


class SearchFigures(Wire):
    """What was tried, and what it cost."""

    objective: str
    evaluations: int
    max_evaluations: int
    tuning: DataFigures
    metric: str = Field(description="by which the tuning samples judged")
    trials: tuple[TrialFigures, ...]
    layers: tuple[LayerFigures, ...] = ()


class FrontFigures(Wire):
    """One artifact of the front, from the safest to the fastest; certified in that order until one fails."""

    role: str = Field(description="safest, safer, fastest or smallest")
    recipe: str
    artifact: ArtifactFigures
    tuning_drop: float
    signoff: SealedSignoff | None = Field(default=None, description="absent past the first failure")
    certified: bool
    uri: str = ""


class DriftBaseline(Wire):
    """What one input looked like in calibration, for the servers to watch.

    Sources: population stability index with bootstrap thresholds, see docs/quantizer.md.
    """

    input: str
    low: float
    high: float
    edges: tuple[float, ...] = Field(description="of the histogram's bins, len(counts) - 1 inner edges")
    counts: tuple[int, ...] = Field(description="of values; the bin of a value is the number of edges at or below it")
    samples: int = Field(default=0, description="that the counts come from")
    psi_thresholds: dict[int, float] = Field(description="PSI that 99 % of unshifted sets stay under, by their size")
    out_of_range_budget: float = Field(description="share of requests with any value out of range, the gate's budget")


class Report(Wire):
    """report.json: everything an auditor needs to say why an artifact was trusted or not."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this document")
    verdict: Verdict
    because: str
    warnings: tuple[str, ...] = ()
    artifact: ArtifactFigures
    recipe: str = ""
    signoff: SealedSignoff
    model: ModelIdentity
    benefit: BenefitFigures | None = Field(default=None, description="absent for what was not certified")
    calibration: CalibrationFigures | None = None
    validation: DataFigures
    samples_in_both: int = Field(
        description="sealed samples that the calibration data hold too; neither calibration nor tuning used them"
    )
    graph: GraphFigures | None = None
    tensors: tuple[TensorFigures, ...] = ()
    search: SearchFigures | None = None
    gap: GapFigures | None = Field(default=None, description="absent for dynamic artifacts, that have no emulation")
    front: tuple[FrontFigures, ...] = ()
    drift: tuple[DriftBaseline, ...] = ()
    openings: tuple[Opening, ...] = Field(default=(), description="the seal ledger, this opening included")
    settings: Settings
    seeds: dict[str, int] = Field(description="of every random choice, so that it can be repeated")
    tools: dict[str, str]
    cpu_features: tuple[str, ...]
    created: AwareDatetime

    def to_json(self) -> str:
        """Indented JSON, camel case."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """A report read back.

        Raises:
            ValueError: it is none, or of a later schema, that this program would misread.
        """
        report = cls.model_validate_json(text)
        if report.schema_version > SCHEMA_VERSION:
            message = f"schema version {report.schema_version}; this program reads up to {SCHEMA_VERSION}"
            raise ValueError(message)
        return report


class FrontEntry(Wire):
    """A certified artifact of the front other than the one chosen, in few words."""

    sha256: str
    uri: str = Field(default="", max_length=TEXT_LIMIT)
    role: str
    size_ratio: float
    drop_upper_bound: float
    disagreement_upper_bound: float = 0.0
    portable: bool = True
    safer: bool = Field(default=False, description="than the one chosen: certified before it in the sequence")


class Handover(Wire):
    """What the Job leaves for the controller; at most 3 KiB of JSON."""

    inputs: str
    verdict: Verdict | None = None
    because: str = Field(default="", max_length=TEXT_LIMIT)
    artifact: ArtifactFigures | None = None
    uri: str = Field(default="", max_length=TEXT_LIMIT)
    report_sha256: str = ""
    signoff: Signoff | None = None
    front: tuple[FrontEntry, ...] = Field(default=(), max_length=3)
    opening: Opening | None = None
    model: ModelIdentity | None = None
    cpu_features: tuple[str, ...] = ()
    tools: dict[str, str] = {}
    out_of_range_budget: float = 0.0  # share of requests; 0: the inputs have no baseline
    refusal: Refusal | None = None

    def to_message(self) -> str:
        """JSON for the termination log.

        If it is too long it does without the URIs of the front (each artifact lies in the repository of `uri`, tagged
        with its sha256), then with most of `because` (the report has all of it) and of a refusal's texts.

        Raises:
            ValueError: it would be longer than `HANDOVER_LIMIT_BYTES` all the same.
        """
        nameless = tuple(each.model_copy(update={"uri": ""}) for each in self.front)
        attempts: list[dict[str, object]] = [{}, {"front": nameless}]
        attempts += [{"front": nameless, **self._brief(limit)} for limit in BRIEF_LIMITS]
        for less in attempts:
            text = self.model_copy(update=less).model_dump_json(by_alias=True, exclude_none=True)
            if len(text.encode()) <= HANDOVER_LIMIT_BYTES:
                return text
        message = f"handover of {len(text.encode())} bytes; at most {HANDOVER_LIMIT_BYTES} fit"
        raise ValueError(message)

    def _brief(self, limit: int) -> dict[str, object]:
        """Its prose, at most so many characters a text."""
        refusal = self.refusal and Refusal(
            field=self.refusal.field,
            found=clip(self.refusal.found, limit),
            allowed=clip(self.refusal.allowed, limit),
        )
        return {"because": clip(self.because, limit), "refusal": refusal}
