"""ONNX Runtime sessions, and the answer a user would see in their outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from quanary.wire.report import RefusedError

RuntimeErrors: Final = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotFound,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)
Array = npt.NDArray[Any]

_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output; a dimension that may vary is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """For messages: `bytes int32[?, 2048]`."""
        return f"{self.name} {self.dtype}[{', '.join('?' if each is None else str(each) for each in self.shape)}]"


@dataclass(frozen=True)
class Model:
    """A loaded model."""

    path: Path
    session: ort.InferenceSession
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feed: dict[str, Array]) -> list[Array]:
        """All outputs for one sample.

        Raises:
            RuntimeErrors: the model rejects it.
        """
        outputs: list[Array] = self.session.run(None, feed)
        return outputs


def answers_of(model: Model, feed: Mapping[str, Array], where: str, field: str, who: str = "the model") -> list[Array]:
    """All outputs for one sample.

    Raises:
        RefusedError: on `field`, naming the sample and `who` rejects it.
    """
    try:
        return model.run(dict(feed))
    except RuntimeErrors as error:
        raise RefusedError(field, f"{where}: {who} rejects it: {error}", "samples the model can answer") from error


def open_model(path: Path, field: str, threads: int = 1, *, optimize: bool = True) -> Model:
    """Load a model on the CPU. Without `optimize` a quantized one computes in float what its integers stand for.

    Raises:
        RefusedError: on `field`, if ONNX Runtime cannot load it, or it takes what .npz data cannot hold.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except RuntimeErrors as error:
        raise RefusedError(field, f"a file that ONNX Runtime cannot load: {error}", "a valid ONNX model") from error
    inputs = tuple(_spec(each, field) for each in session.get_inputs())
    return Model(path, session, inputs, tuple(_spec(each, field) for each in session.get_outputs()))


def _spec(value: Any, field: str) -> TensorSpec:
    if value.type not in _DTYPES:
        raise RefusedError(field, f"{value.name} of type {value.type}", ", ".join(_DTYPES))
    shape = tuple(each if isinstance(each, int) and each >= 0 else None for each in value.shape)
    return TensorSpec(value.name, _DTYPES[value.type], shape)


def answer_of(output: Array) -> Array:
    """What a user reads in an output, as the server compares it.

    The top-1 class along the last axis; with one score only, whether it is above 0.5; -1 for NaN. An output that is no
    score (integers, booleans, strings) is the answer itself.
    """
    if output.dtype.kind != "f":
        return output
    scores = np.atleast_1d(output)
    if scores.shape[-1] == 0:
        return np.zeros(scores.shape[:-1], np.int64)
    answer: Array = (scores[..., 0] > 0.5).astype(np.int64) if scores.shape[-1] == 1 else scores.argmax(axis=-1)
    # The largest is no number if any score is none: a look at each of them takes several times as long.
    if np.isnan(scores.max(initial=-np.inf)):
        return np.where(np.isnan(scores).any(axis=-1), -1, answer)
    return answer
