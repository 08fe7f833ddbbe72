"""Small changes of the main graph, each an answer to a failure of the quantizer below."""

from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper, version_converter

from quanary.quantizer.graph.walk import all_nodes, opset_of, subgraphs_of

# DequantizeLinear has an axis, that scales per channel need, since opset 13.
CHANNEL_OPSET: Final = 13
# The one for 8-bit activations; what is older but has that axis does as well.
BYTE_OPSET: Final = 17


class NormalizationError(Exception):
    """One way to normalise did not work; the next may."""


def raise_opset(model: ModelProto, target: int, steps: list[str]) -> ModelProto:
    """Convert to `target` what is older. What the quantizer can do with already is kept if it cannot be converted.

    Raises:
        NormalizationError: it must be converted, and cannot be.
    """
    found = opset_of(model)
    if found >= target:
        return model
    try:
        converted = version_converter.convert_version(model, target)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        if found >= CHANNEL_OPSET and target <= BYTE_OPSET:
            steps.append(f"kept opset {found}, that cannot be converted: {reason}")
            return model
        message = f"opset {found} cannot be converted to {target}: {reason}"
        raise NormalizationError(message) from error
    steps.append(f"converted opset {found} to {target}")
    return converted


def fix_weights(model: ModelProto, steps: list[str]) -> None:
    """Old exporters list weights as inputs too, that a caller may replace: nobody does, and nothing can be folded."""
    graph = model.graph
    stored = {each.name for each in graph.initializer}
    kept = onnx.GraphProto()
    kept.input.extend(each for each in graph.input if each.name not in stored)
    if len(kept.input) < len(graph.input):
        steps.append(f"made {len(graph.input) - len(kept.input)} inputs with a default constant")
        del graph.input[:]
        graph.input.extend(kept.input)
        # Up to IR version 3 they have to be listed.
        model.ir_version = max(model.ir_version, 4)


def forget_unused_domains(model: ModelProto) -> None:
    """ONNX Runtime lists every operator set it knows, which would tie the file to it."""
    used = {node.domain for node in all_nodes(model.graph)} | {""}
    kept = [each for each in model.opset_import if ("" if each.domain == "ai.onnx" else each.domain) in used]
    imports = sorted((each.domain, each.version) for each in kept)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in imports)


def name_nodes(model: ModelProto, steps: list[str]) -> None:
    """A name of its own for every node, `<operator>_<position>` without one: users and quantizers tell nodes by it."""
    given = {node.name for node in all_nodes(model.graph)}
    taken: set[str] = set()
    unnamed = twice = 0
    for index, node in enumerate(model.graph.node):
        if node.name and node.name not in taken:
            taken.add(node.name)
            continue
        unnamed += not node.name
        twice += bool(node.name)
        name = node.name or f"{node.op_type}_{index}"
        while name in given or name in taken:
            name += "_"
        node.name = name
        taken.add(name)
    if unnamed:
        steps.append(f"named {unnamed} nodes")
    if twice:
        steps.append(f"renamed {twice} nodes with another's name")


def lift_constants(model: ModelProto, steps: list[str]) -> None:
    """Constants become initializers: only those are quantized, and the others bloat the file."""
    graph = model.graph
    lifted = [tensor for node in graph.node if (tensor := _constant(node)) is not None]
    kept = [node for node in graph.node if _constant(node) is None]
    if not lifted:
        return
    graph.initializer.extend(lifted)
    rest = onnx.GraphProto()
    rest.node.extend(kept)
    del graph.node[:]
    graph.node.extend(rest.node)
    steps.append(f"made {len(lifted)} constants initializers")


def _constant(node: NodeProto) -> TensorProto | None:
    """The value of a Constant, in whichever attribute it is given; None for sparse ones and other operators."""
    if node.op_type != "Constant" or node.domain or not node.attribute:
        return None
    attribute = node.attribute[0]
    tensor = TensorProto()
    match attribute.name:
        case "value":
            tensor.CopyFrom(attribute.t)
        case "value_float" | "value_floats":
            tensor = numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), np.float32))
        case "value_int" | "value_ints":
            tensor = numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(attribute), np.int64))
        case _:
            return None
    tensor.name = node.output[0]
    return tensor


def flatten_gemm_bias(model: ModelProto, steps: list[str], base: str) -> None:
    """The quantizer below takes a Gemm bias of one axis only. `base`: the folder of external data."""
    graph = model.graph
    initializers = {each.name: each for each in graph.initializer}
    flattened = 0
    for node in graph.node:
        if node.op_type != "Gemm" or len(node.input) < 3 or node.input[2] not in initializers:
            continue
        stored = initializers[node.input[2]]
        width = _gemm_width(node, initializers)
        if list(stored.dims) == [width] or int(np.prod(stored.dims)) not in (1, width):
            continue
        bias = numpy_helper.to_array(stored, base)
        name = f"{node.name}/bias"
        flat = np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (width,)))
        graph.initializer.append(numpy_helper.from_array(flat, name))
        node.input[2] = name
        flattened += 1
    if flattened:
        steps.append(f"flattened {flattened} Gemm biases")


def _gemm_width(node: NodeProto, initializers: dict[str, TensorProto]) -> int:
    """Output columns, or -1 if the weight is not constant."""
    weight = initializers.get(node.input[1])
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return -1 if weight is None else int(weight.dims[0 if transposed else 1])


def mark_prepared(model: ModelProto) -> None:
    """ONNX Runtime's quantizer warns without its own preparation's mark. What else the model says of itself stays."""
    said = {each.key for each in model.metadata_props}
    for key in ("onnx.infer", "onnx.quant.pre_process"):
        if key not in said:
            model.metadata_props.add(key=key, value="onnxruntime.quant")


def drop_unused(model: ModelProto) -> None:
    """Weights that no node reads any more."""
    graph = model.graph
    read = {name for node in all_nodes(graph) for name in node.input} | {each.name for each in graph.output}
    read |= {each.name for node in all_nodes(graph) for part in subgraphs_of(node) for each in part.output}
    kept = onnx.GraphProto()
    kept.initializer.extend(each for each in graph.initializer if each.name in read)
    del graph.initializer[:]
    graph.initializer.extend(kept.initializer)
