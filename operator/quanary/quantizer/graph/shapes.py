"""The ladder: ways to fold constants and infer shapes, until one leaves no tensor of unknown type.

A quantizer below passes over a tensor whose type it does not know. ONNX's own inference comes first, because it is
quick and knows most graphs whole; what it leaves open (operators of ONNX Runtime, mostly) is tried with symbolic
dimensions.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import onnx
import onnxruntime as ort
from onnx import ModelProto

from quanary.quantizer.graph.steps import NormalizationError
from quanary.quantizer.inference import RuntimeErrors

SYMBOLIC_SECONDS: Final = 60

_INT_MAX: Final = 2**31 - 1  # ONNX Runtime's own default: a bound that means "to the end"


@dataclass(frozen=True)
class Rung:
    """One way. `symbolic`: names for dimensions that vary; `merge`: take two names for one where they must agree.

    A `thorough` rung has failed if it leaves a tensor of unknown type, though the graph is right. Without `convert`
    the opset is raised only as far as the quantizer must have it.
    """

    text: str
    symbolic: bool = False
    merge: bool = False
    optimize: bool = True
    thorough: bool = True
    convert: bool = True


LADDER: Final = (
    Rung("folded constants, inferred shapes"),
    Rung("folded constants, inferred symbolic shapes", symbolic=True),
    Rung("folded constants, inferred symbolic shapes with merged dimensions", symbolic=True, merge=True),
    Rung("folded constants, inferred shapes as far as they can be", thorough=False),
    Rung("inferred shapes, without folding constants", optimize=False, thorough=False, convert=False),
)


def climb(model: ModelProto, rung: Rung, scratch: Path) -> ModelProto:
    """`model`, whose large weights are in `scratch`, as one rung makes it; its large weights are there again.

    Raises:
        NormalizationError: this rung does not bear it.
    """
    try:
        if rung.symbolic:
            model = _infer_symbolic(model, merge=rung.merge)
        if rung.optimize:
            model = _optimize(model, scratch)
        model = onnx.shape_inference.infer_shapes(model)
    except (*RuntimeErrors, onnx.shape_inference.InferenceError) as error:
        message = f"{rung.text}: {str(error).strip() or type(error).__name__}"
        raise NormalizationError(message) from error
    unknown = _unknown(model) if rung.thorough else []
    if unknown:
        message = f"{rung.text}: {len(unknown)} tensors of unknown type, {unknown[0]} first"
        raise NormalizationError(message)
    return model


def _unknown(model: ModelProto) -> list[str]:
    """Tensors of the main graph without a type."""
    graph = model.graph
    known = {each.name for each in (*graph.input, *graph.output, *graph.value_info) if each.type.WhichOneof("value")}
    known |= {each.name for each in graph.initializer}
    return [name for node in graph.node for name in node.output if name and name not in known]


def _infer_symbolic(model: ModelProto, *, merge: bool) -> ModelProto:
    """It fails on what it does not know in any way: by exceptions of every kind, and by never ending."""
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference  # noqa: PLC0415  slow, seldom needed

    copy = ModelProto()
    copy.CopyFrom(model)
    with _alarm(SYMBOLIC_SECONDS):
        try:
            inferred = SymbolicShapeInference.infer_shapes(copy, _INT_MAX, merge, False, 0)
        except NormalizationError:
            raise
        except Exception as error:
            message = f"symbolic shape inference: {str(error).strip() or type(error).__name__}"
            raise NormalizationError(message) from error
    if inferred is None:
        raise NormalizationError("symbolic shape inference does not know the opset")
    return inferred


def _optimize(model: ModelProto, scratch: Path) -> ModelProto:
    """ONNX Runtime's own rewriting, the part of it that yields plain ONNX."""
    before, after, weights = scratch / "whole.onnx", scratch / "folded.onnx", "folded.data"
    before.write_bytes(model.SerializeToString(deterministic=True))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(after)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    ort.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
    return onnx.load(after, load_external_data=False)


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    """Only for the main thread of a process of its own: Python code within is stopped after `seconds`."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        message = f"symbolic shape inference: no end within {seconds} s"
        raise NormalizationError(message)

    before: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
