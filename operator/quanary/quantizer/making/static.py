"""Static recipes: QuantizeLinear and DequantizeLinear around nodes, scales from calibrated ranges.

Activations are unsigned, weights signed: the types ONNX Runtime has integer kernels for on x86. With 7-bit weights
its sums cannot overflow 16 bits on CPUs without VNNI (255 * 64 * 2 < 32,768), so that results agree on both kinds.
"""

import numpy as np
from onnx import ModelProto
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.quant_utils import add_infer_metadata

from quanary.quantizer.graph import CORE
from quanary.quantizer.making.barrier import hide_float_nodes
from quanary.quantizer.making.nodes import FOLDED, NodeChoice, folded_nodes, operators_of, quantized_nodes
from quanary.quantizer.making.quantizer import Known, Quantizer
from quanary.quantizer.recipe import Activations, Granularity, Recipe

_TYPES = {Activations.UINT8: QuantType.QUInt8, Activations.UINT16: QuantType.QUInt16}


def quantize(
    model: ModelProto, recipe: Recipe, nodes: NodeChoice, bounds: dict[str, tuple[float, float]], known: Known
) -> ModelProto:
    """The quantized graph; `model` is consumed. `known`: of earlier models of the same graph.

    Raises:
        ValueError: a tensor without a range.
    """
    add_infer_metadata(model)  # shapes were inferred when the graph was normalised
    ranges = {name: (np.float32(low), np.float32(high)) for name, (low, high) in bounds.items()}
    folded = folded_nodes(model, nodes, recipe) if recipe.activations == Activations.UINT8 else ()
    quantizer = Quantizer(
        known,
        model,
        recipe.granularity == Granularity.PER_CHANNEL,
        recipe.reduce_range,
        QuantType.QInt8,
        _TYPES[recipe.activations],
        TensorsData(CalibrationMethod.MinMax, ranges),
        [*nodes.quantized, *folded],
        [],
        [*operators_of(recipe), *FOLDED],
        {"QDQOpTypePerChannelSupportToAxis": {"MatMul": 1}},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    hide_float_nodes(quantized)
    return quantized


def missed(quantized: ModelProto, nodes: NodeChoice) -> list[str]:
    """Compute nodes that were to be quantized and are not; of other operators the library takes what it can."""
    core = {node.name for node in quantized.graph.node if node.op_type in CORE}
    return sorted((set(nodes.quantized) & core) - quantized_nodes(quantized))
