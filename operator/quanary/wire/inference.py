"""Messages of the Open Inference Protocol v2, as JSON carries them. No tensors, no transport.

Shapes are row-major lists of dimensions; -1 in metadata is a dimension that varies. Unknown fields are ignored, as the
protocol asks, so that extensions of a client do no harm.
"""

from typing import Final

import msgspec

# With the binary extension a body is this many bytes of JSON, then the tensors, little-endian, in order.
HEADER_LENGTH: Final = "inference-header-content-length"
# On every answer: the first 10 hex digits of the digest of the model that gave it.
DIGEST_HEADER: Final = "quanary-digest"
# On a twin's answer: how long the model itself ran.
EXECUTION_HEADER: Final = "quanary-execution-seconds"
# On a twin's question: how many servers asked before this one; and whose digest asked first.
HOPS_HEADER: Final = "quanary-hops"
ASKER_HEADER: Final = "quanary-asker"
# On an answer that float gave instead of INT8, or that was also sent to review: `float` or `review`.
ESCALATED_HEADER: Final = "quanary-escalated"
# On a question over the twin port whose answer a user waits for, so that it goes before comparisons: why it is asked.
ESCALATION_HEADER: Final = "quanary-escalation"
UNSURE: Final = "unsure"
CRITICAL: Final = "critical"

MODEL_VERSION: Final = "1"
PLATFORM: Final = "onnx_onnxv1"
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "statistics")
BACKEND: Final = "onnxruntime"

# Bytes of one element; BYTES elements are a little-endian uint32 length and as many bytes.
ELEMENT_BYTES: Final = {
    "BOOL": 1,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 0,
}

Parameters = dict[str, str | int | float | bool]
BINARY: Final = msgspec.Raw(b"")  # in place of a tensor's data: they follow the JSON part


class InputTensor(msgspec.Struct, frozen=True):
    """One input; `data` stays undecoded until its datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = BINARY


class FlatInput(msgspec.Struct, frozen=True):
    """One input of floats whose data, flat JSON, are read along with it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]
    parameters: Parameters = {}


class RequestedOutput(msgspec.Struct, frozen=True):
    """One output that is wanted."""

    name: str
    parameters: Parameters = {}


class InferenceRequest(msgspec.Struct, frozen=True):
    """A request; without `outputs` all of them are wanted."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[RequestedOutput] = []


class FlatRequest(msgspec.Struct, frozen=True):
    """A request all of whose inputs are floats in flat JSON."""

    inputs: list[FlatInput]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[RequestedOutput] = []


class OutputTensor(msgspec.Struct, frozen=True):
    """One output of an answer, its data undecoded."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = BINARY


class InferenceResponse(msgspec.Struct, frozen=True):
    """An answer."""

    model_name: str
    outputs: list[OutputTensor]
    model_version: str = ""
    id: str | None = None


class TensorMetadata(msgspec.Struct, frozen=True):
    """What a model takes or gives under one name."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """GET /v2/models/NAME."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class ServerMetadata(msgspec.Struct, frozen=True):
    """GET /v2."""

    name: str
    version: str
    extensions: tuple[str, ...] = EXTENSIONS


class ErrorMessage(msgspec.Struct, frozen=True):
    """The body of every answer that is not a 2xx."""

    error: str


class TensorConfig(msgspec.Struct, frozen=True):
    """An input or output as a model's configuration says it."""

    name: str
    data_type: str  # TYPE_FP32
    dims: tuple[int, ...]


class ModelConfig(msgspec.Struct, frozen=True):
    """GET /v2/models/NAME/config: what clients of Triton read of it."""

    name: str
    platform: str
    backend: str
    max_batch_size: int  # 0: shapes are whole, a batch dimension is one of them
    input: tuple[TensorConfig, ...]
    output: tuple[TensorConfig, ...]


class Duration(msgspec.Struct, frozen=True):
    """How often, and nanoseconds altogether."""

    count: int = 0
    ns: int = 0


class InferenceDurations(msgspec.Struct, frozen=True):
    """Where the time went; what is not measured apart stays zero."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(msgspec.Struct, frozen=True):
    """One model since its start."""

    name: str
    version: str
    last_inference: int  # milliseconds since the epoch; 0: none yet
    inference_count: int
    execution_count: int
    inference_stats: InferenceDurations


class StatisticsAnswer(msgspec.Struct, frozen=True):
    """GET /v2/models/NAME/stats."""

    model_stats: tuple[ModelStatistics, ...]


class ModelIndex(msgspec.Struct, frozen=True):
    """One model of POST /v2/repository/index."""

    name: str
    version: str
    state: str
    reason: str = ""


class IndexRequest(msgspec.Struct, frozen=True):
    """What of the repository is asked for."""

    ready: bool = False
