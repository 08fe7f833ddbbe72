"""Bring a graph into the form that quantizes well, and prove that it still computes the same.

Each step here answers a failure of the quantizer below it: opset < 13 with per-channel weights cannot be loaded, a Gemm
bias of shape [1, N] raises, constants outside initializers stay float, and nodes without a unique name cannot be named.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, NodeProto, inliner, numpy_helper, version_converter
from onnxruntime.quantization.shape_inference import quant_pre_process

from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Model, RuntimeErrors, answer_of, open_model
from quanary.wire.report import RefusedError

CORE: Final = ("Conv", "MatMul", "Gemm")
FIELD: Final = "spec.model.uri"

_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_QUANTIZED: Final = re.compile(r"QuantizeLinear|DequantizeLinear|QLinear.*|.*Integer|DynamicQuantize.*")
_OLDEST_OPSET, _TARGET_OPSET = 13, 17
# Of any output against the source model's, on real samples: float32 sums in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


class NormalizationError(Exception):
    """One way to normalise did not work; the next may."""


@dataclass(frozen=True)
class Normalized:
    """A graph ready for the quantizer."""

    path: Path
    opset_found: int
    opset: int
    steps: tuple[str, ...]
    largest_difference: float
    core_in_subgraphs: int


def read_graph(path: Path, field: str = FIELD) -> ModelProto:
    """Parse one self-contained model file.

    Raises:
        RefusedError: on `field`: no ONNX model, data in other files, or operators nobody but its maker has.
    """
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise RefusedError(field, f"a file that is no ONNX model: {error}", "one ONNX file") from error
    if not model.graph.node:
        raise RefusedError(field, "a file without a graph", "one ONNX file")
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise RefusedError(field, "weights in external files", "one file of at most 2 GiB with all weights in it")
    known = _DOMAINS | {each.domain for each in model.functions}
    custom = sorted({f"{node.domain}::{node.op_type}" for node in all_nodes(model.graph) if node.domain not in known})
    if custom:
        allowed = "ONNX and ONNX Runtime's own operators; export without custom ones"
        raise RefusedError(field, f"custom operators {', '.join(custom)}", allowed)
    return model


def normalize(source: Model, work: Path, samples: Sequence[Sample]) -> Normalized:
    """A normalised copy of `source`, equal to it on `samples`.

    Raises:
        RefusedError: nothing to quantize, quantized already, or no way to normalise keeps the outputs.
    """
    model = read_graph(source.path)
    in_subgraphs = _refuse_unfit(model)
    failures = []
    for optimize in (True, False):
        try:
            normalized, steps = _rebuild(model, work, optimize=optimize)
            difference = _largest_difference(source, normalized, samples)
        except (NormalizationError, RefusedError) as error:
            failures.append(f"{'with' if optimize else 'without'} optimisation: {error}")
            continue
        graph = onnx.load(normalized)
        return Normalized(normalized, opset_of(model), opset_of(graph), steps, difference, in_subgraphs)
    raise RefusedError(FIELD, f"a graph that cannot be normalised ({'; '.join(failures)})", "export it at opset 17")


def all_nodes(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    """Nodes of a graph and of the branches and bodies within."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from all_nodes(inner)


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators."""
    return max((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), default=1)


def _refuse_unfit(model: ModelProto) -> int:
    """The number of compute nodes out of reach in subgraphs."""
    quantized = sorted({node.op_type for node in all_nodes(model.graph) if _QUANTIZED.fullmatch(node.op_type)})
    if quantized:
        raise RefusedError(FIELD, f"a quantized model ({', '.join(quantized)})", "a float model, or strategy Provided")
    above = sum(node.op_type in CORE for node in model.graph.node)
    within = sum(node.op_type in CORE for node in all_nodes(model.graph)) - above
    inlined = sum(node.op_type in CORE for each in model.functions for node in each.node)
    if not above + inlined:
        found = f"no {', '.join(CORE)} in the main graph, {within} in branches and loops"
        raise RefusedError(
            FIELD, found, "compute nodes in the main graph: export without If and Loop, or strategy Provided"
        )
    return within


def _rebuild(source: ModelProto, work: Path, *, optimize: bool) -> tuple[Path, tuple[str, ...]]:
    steps: list[str] = []
    model = ModelProto()
    model.CopyFrom(source)
    if model.functions:
        model = inliner.inline_local_functions(model)
        steps.append("inlined functions")
    model = _raise_opset(model, steps)
    _name_nodes(model, steps)
    before, after = work / "before.onnx", work / "normalized.onnx"
    onnx.save(model, before)
    try:
        # Symbolic shapes are not needed: ranges are taken from real samples.
        quant_pre_process(before, after, skip_symbolic_shape=True, skip_optimization=not optimize)
    except (*RuntimeErrors, onnx.shape_inference.InferenceError) as error:
        message = f"shape inference failed: {error}"
        raise NormalizationError(message) from error
    steps.append("folded constants, inferred shapes" if optimize else "inferred shapes")
    model = onnx.load(after)
    _lift_constants(model, steps)
    _name_nodes(model, steps)
    _flatten_gemm_bias(model, steps)
    onnx.save(model, after)
    return after, tuple(steps)


def _raise_opset(model: ModelProto, steps: list[str]) -> ModelProto:
    """Per-channel weights need axis on DequantizeLinear, that came with opset 13."""
    found = opset_of(model)
    if found >= _OLDEST_OPSET:
        return model
    try:
        converted = version_converter.convert_version(model, _TARGET_OPSET)
    except (RuntimeError, ValueError) as error:
        message = f"opset {found} cannot be converted to {_TARGET_OPSET}: {error}"
        raise NormalizationError(message) from error
    steps.append(f"converted opset {found} to {_TARGET_OPSET}")
    return converted


def _name_nodes(model: ModelProto, steps: list[str]) -> None:
    """`<operator>_<position>` for nodes without a name, by which a user, and the quantizer below, tell them apart."""
    taken = {node.name for node in model.graph.node}
    unnamed = [(index, node) for index, node in enumerate(model.graph.node) if not node.name]
    for index, node in unnamed:
        name = f"{node.op_type}_{index}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)
    if unnamed:
        steps.append(f"named {len(unnamed)} nodes")


def _lift_constants(model: ModelProto, steps: list[str]) -> None:
    graph = model.graph
    lifted = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in lifted:
        tensor = graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.node.remove(node)
    if lifted:
        steps.append(f"made {len(lifted)} constants initializers")


def _flatten_gemm_bias(model: ModelProto, steps: list[str]) -> None:
    """The quantizer below takes a Gemm bias of one axis only."""
    graph = model.graph
    initializers = {each.name: each for each in graph.initializer}
    flattened = 0
    for node in graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in initializers:
            continue
        bias = numpy_helper.to_array(initializers[node.input[2]])
        width = _gemm_width(node, initializers)
        if bias.shape == (width,) or bias.size not in (1, width):
            continue
        name = f"{node.name}/bias"
        flat = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (width,)))
        graph.initializer.append(numpy_helper.from_array(flat, name))
        node.input[2] = name
        flattened += 1
    if flattened:
        steps.append(f"flattened {flattened} Gemm biases")


def _gemm_width(node: NodeProto, initializers: dict[str, onnx.TensorProto]) -> int:
    """Output columns, or -1 if the weight is not constant."""
    weight = initializers.get(node.input[1])
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return -1 if weight is None else int(weight.dims[0 if transposed else 1])


def _largest_difference(source: Model, normalized: Path, samples: Sequence[Sample]) -> float:
    """Over all outputs and samples.

    Raises:
        NormalizationError: it is more than another order of sums explains, or an answer differs.
    """
    other = open_model(normalized, FIELD)
    largest = 0.0
    for sample in samples:
        pairs = list(zip(source.run(sample.feed), other.run(sample.feed), strict=True))
        for before, after in pairs:
            if before.shape != after.shape or not np.allclose(after, before, _RELATIVE, _ABSOLUTE, equal_nan=True):
                message = f"outputs differ on {sample.where}"
                raise NormalizationError(message)
            if before.size and before.dtype.kind == "f":
                largest = max(largest, float(np.nan_to_num(np.abs(after - before)).max()))
        if not np.array_equal(answer_of(pairs[0][0]), answer_of(pairs[0][1])):
            message = f"the answer differs on {sample.where}"
            raise NormalizationError(message)
    return largest
