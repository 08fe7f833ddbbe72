"""What the server says of itself and its model, the same over every transport. Pure."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from quanary.server.messages import Signature
from quanary.server.statistics import Statistics, Tally
from quanary.wire.inference import (
    BACKEND,
    MODEL_VERSION,
    PLATFORM,
    Duration,
    InferenceDurations,
    ModelConfig,
    ModelIndex,
    ModelStatistics,
    ServerMetadata,
    StatisticsAnswer,
    TensorConfig,
    TensorMetadata,
)

SERVER: Final = ServerMetadata("quanary", version("quanary"))
NO_LOADING: Final = "models are neither loaded nor unloaded: this server serves the one that it was started with"
# Other words of the configuration than of the protocol.
_CONFIG_TYPES: Final = {"BYTES": "STRING"}


def config(name: str, signature: Signature) -> ModelConfig:
    """The model as a Triton configuration says it."""
    inputs, outputs = _tensors(signature.inputs), _tensors(signature.outputs)
    return ModelConfig(name, PLATFORM, BACKEND, 0, inputs, outputs)


def statistics(name: str, counted: Statistics) -> StatisticsAnswer:
    """What happened so far."""
    durations = InferenceDurations(
        success=_duration(counted.success),
        fail=_duration(counted.fail),
        queue=Duration(),
        compute_input=Duration(),
        compute_infer=_duration(counted.execution),
        compute_output=Duration(),
    )
    last = int(counted.last_inference_seconds * 1000)
    count = counted.success.count
    return StatisticsAnswer((ModelStatistics(name, MODEL_VERSION, last, count, count, durations),))


def index(name: str, *, is_ready: bool, is_draining: bool, only_ready: bool) -> tuple[ModelIndex, ...]:
    """The one model of the repository, if it is wanted."""
    if only_ready and not is_ready:
        return ()
    state = "READY" if is_ready else "UNLOADING" if is_draining else "LOADING"
    return (ModelIndex(name, MODEL_VERSION, state),)


def unknown_model(name: str, model_version: str, served: str) -> str | None:
    """Why a request does not concern the model `served`, if so. An empty version is any."""
    if name != served:
        return f"unknown model {name[:100]!r}; this server has {served!r}"
    if model_version not in ("", MODEL_VERSION):
        return f"unknown version {model_version[:100]!r}; this server has {MODEL_VERSION!r}"
    return None


def _tensors(tensors: Sequence[TensorMetadata]) -> tuple[TensorConfig, ...]:
    return tuple(
        TensorConfig(each.name, f"TYPE_{_CONFIG_TYPES.get(each.datatype, each.datatype)}", each.shape)
        for each in tensors
    )


def _duration(tally: Tally) -> Duration:
    return Duration(tally.count, round(tally.seconds * 1e9))
