"""What the quantizer says of an artifact: report.json, and the handover that fits a termination message."""

import json
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from quanary.api.v1alpha1 import Signoff, Verdict

# The kubelet cuts a termination message at 4,096 bytes.
HANDOVER_LIMIT_BYTES: Final = 3072
# Of one text in it.
TEXT_LIMIT: Final = 512

Settings = dict[str, str | int | float | bool | tuple[str, ...]]


class Wire(BaseModel):
    """Camel case outside, snake case inside; unknown keys are ignored so that versions can differ."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ArtifactFigures(Wire):
    """An INT8 model file. Ratios: size INT8 over FP32; latency FP32 over INT8 at p50 (above 1 is a gain)."""

    file: str
    sha256: str
    size_ratio: float
    latency_ratio: float


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
        clipped = {"found": clip(found), "allowed": clip(allowed)}
        self.refusal = Refusal(field=field, **clipped)
        super().__init__(self.refusal.sentence)


def clip(text: str) -> str:
    """Foreign text (names, URIs) may be of any length; a refusal must fit the handover."""
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


class DataFigures(Wire):
    """A data set: a tar by the digest of its file, a folder by that of its sorted list of shards."""

    sha256: str
    shards: int
    samples: int
    used: int


class SealedSignoff(Signoff):
    """The paired table behind the sign-off, and what it was judged by."""

    lost: int = Field(description="samples on which float was right and the artifact is not")
    gained: int = Field(description="samples on which the artifact is right and float was not")
    confidence: float
    max_drop: float
    samples_needed: int | None = Field(default=None, description="at the observed rates, for NotCertifiable")


class BenefitFigures(Wire):
    """Time of one inference at batch 1, by thread CPU time; wall clock beside it. Ratios: FP32 over INT8."""

    float_seconds: float
    int8_seconds: float
    latency_ratio: float
    wall_ratio: float
    block_ratios: tuple[float, ...]
    threads: int
    min_speedup: float


class GraphFigures(Wire):
    """What normalising and quantizing did to the graph."""

    opset_found: int
    opset: int
    steps: tuple[str, ...]
    largest_difference: float = Field(description="of any output, normalised against source, on real samples")
    quantized_nodes: tuple[str, ...]
    kept_float_nodes: tuple[str, ...]
    core_nodes_in_subgraphs: int


class Report(Wire):
    """report.json: everything an auditor needs to say why an artifact was trusted or not."""

    verdict: Verdict
    because: str
    artifact: ArtifactFigures
    signoff: SealedSignoff
    model: ModelIdentity
    benefit: BenefitFigures
    calibration: DataFigures | None = None
    validation: DataFigures
    samples_in_both: int = Field(description="sealed samples that calibration used too; 0 in an honest split")
    graph: GraphFigures | None = None
    settings: Settings
    seeds: dict[str, int] = Field(description="empty: every choice is deterministic")
    tools: dict[str, str]
    cpu_features: tuple[str, ...]
    created: AwareDatetime

    def to_json(self) -> str:
        """Indented JSON, camel case."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


class Handover(Wire):
    """What the Job leaves for the controller; at most 3 KiB of JSON."""

    inputs: str
    verdict: Verdict | None = None
    because: str = Field(default="", max_length=TEXT_LIMIT)
    artifact: ArtifactFigures | None = None
    uri: str = Field(default="", max_length=TEXT_LIMIT)
    report_sha256: str = ""
    signoff: Signoff | None = None
    model: ModelIdentity | None = None
    cpu_features: tuple[str, ...] = ()
    tools: dict[str, str] = {}
    refusal: Refusal | None = None

    def to_message(self) -> str:
        """JSON for the termination log.

        Raises:
            ValueError: it would be longer than `HANDOVER_LIMIT_BYTES`.
        """
        text = self.model_dump_json(by_alias=True, exclude_none=True)
        if len(text.encode()) > HANDOVER_LIMIT_BYTES:
            message = f"handover of {len(text.encode())} bytes; at most {HANDOVER_LIMIT_BYTES} fit"
            raise ValueError(message)
        return text
