"""The trained network as ONNX: float, and INT8 in QDQ form with the very scales it was trained with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from network import ACTIVATION_STEPS, CLASSES, WEIGHT_STEPS, Parameters, weight_scale
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET = 17


def save_float(parameters: Parameters, path: Path) -> None:
    """`image` float[n, 1, 28, 28] to `scores` float[n, 10]."""
    arrays = {name: np.asarray(value, np.float32) for name, value in parameters.items()}
    _save(_nodes({}), arrays, path)


def save_int8(parameters: Parameters, tops: Mapping[str, float], path: Path) -> None:
    """The same signature. Every weight is stored as int8, every bias as int32 of scale activation x weight."""
    arrays: dict[str, np.ndarray] = {}
    quantized: dict[str, list[NodeProto]] = {}
    for layer, top in tops.items():
        activation = np.float32(top / ACTIVATION_STEPS)
        scales = np.asarray(weight_scale(parameters[f"{layer}.weight"]), np.float32)
        weight = np.asarray(parameters[f"{layer}.weight"])
        shape = (-1,) + (1,) * (weight.ndim - 1)
        rounded = np.clip(np.round(weight / scales.reshape(shape)), -WEIGHT_STEPS, WEIGHT_STEPS).astype(np.int8)
        bias = np.round(np.asarray(parameters[f"{layer}.bias"]) / (activation * scales)).astype(np.int32)
        arrays |= {
            f"{layer}.weight.q": rounded,
            f"{layer}.weight.scale": scales,
            f"{layer}.weight.zero": np.zeros_like(scales, np.int8),
            f"{layer}.bias.q": bias,
            f"{layer}.bias.scale": (activation * scales).astype(np.float32),
            f"{layer}.bias.zero": np.zeros_like(scales, np.int32),
            f"{layer}.input.scale": activation,
            f"{layer}.input.zero": np.uint8(0),
        }
        quantized[layer] = _qdq(layer)
    _save(_nodes(quantized), arrays, path)


def _qdq(layer: str) -> list[NodeProto]:
    """Quantized weight and bias of a layer."""
    return [
        helper.make_node(
            "DequantizeLinear",
            [f"{layer}.{each}.q", f"{layer}.{each}.scale", f"{layer}.{each}.zero"],
            [f"{layer}.{each}"],
            f"{layer}/{each}",
            axis=0,
        )
        for each in ("weight", "bias")
    ]


def _rounded(layer: str, values: str, name: str) -> list[NodeProto]:
    """`values` on the grid of what flows into `layer`."""
    ends = [f"{layer}.input.scale", f"{layer}.input.zero"]
    return [
        helper.make_node("QuantizeLinear", [values, *ends], [f"{name}.q"], f"{name}/quantize"),
        helper.make_node("DequantizeLinear", [f"{name}.q", *ends], [f"{name}.dq"], f"{name}/dequantize"),
    ]


def _nodes(quantized: Mapping[str, list[NodeProto]]) -> list[NodeProto]:
    nodes, values = [], "image"
    for layer, following in (("conv1", "conv2"), ("conv2", "dense")):
        nodes += _layer(quantized, layer, values, "Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        nodes.append(helper.make_node("Relu", [f"{layer}.out"], [f"{layer}.relu"], f"{layer}/relu"))
        values = f"{layer}.relu"
        if quantized:
            # Before the pool as well as after: a Conv runs in integers only if its own output is rounded.
            nodes += _rounded(following, values, values)
            values = f"{values}.dq"
        pooling = {"kernel_shape": [2, 2], "strides": [2, 2]}
        nodes.append(helper.make_node("MaxPool", [values], [f"{layer}.pool"], f"{layer}/pool", **pooling))
        values = f"{layer}.pool"
    nodes.append(helper.make_node("Flatten", [values], ["flat"], "flatten"))
    return [*nodes, *_layer(quantized, "dense", "flat", "Gemm", out="scores", transB=1)]


def _layer(
    quantized: Mapping[str, list[NodeProto]],
    layer: str,
    values: str,
    operator: str,
    out: str = "",
    **attributes: object,
) -> list[NodeProto]:
    before = quantized.get(layer, [])
    if before:
        before = [*_rounded(layer, values, f"{layer}.input"), *before]
        values = f"{layer}.input.dq"
    inputs = [values, f"{layer}.weight", f"{layer}.bias"]
    return [*before, helper.make_node(operator, inputs, [out or f"{layer}.out"], layer, **attributes)]


def _save(nodes: list[NodeProto], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
