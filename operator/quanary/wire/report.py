"""What the quantizer says of an artifact: report.json, and the handover that fits a termination message."""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from quanary.api.v1alpha1 import Signoff, Verdict

# The kubelet cuts a termination message at 4,096 bytes.
HANDOVER_LIMIT_BYTES: Final = 3072


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


class Handover(Wire):
    """What the Job leaves for the controller; at most 3 KiB of JSON."""

    inputs: str
    verdict: Verdict | None = None
    because: str = Field(default="", max_length=512)
    artifact: ArtifactFigures | None = None
    uri: str = Field(default="", max_length=512)
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
