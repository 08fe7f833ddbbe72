"""Dynamic recipes: weights in INT8, activations quantized at run time by their own range. No calibration."""

from onnx import ModelProto
from onnxruntime.quantization import QuantizationMode, QuantType
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from quanary.quantizer.making.nodes import NodeChoice, operators_of
from quanary.quantizer.making.quantizer import Known
from quanary.quantizer.recipe import Granularity, Recipe


def quantize(
    model: ModelProto,
    recipe: Recipe,
    nodes: NodeChoice,
    bounds: dict[str, tuple[float, float]],  # noqa: ARG001 - one signature for both approaches
    known: Known,  # noqa: ARG001
) -> ModelProto:
    """The quantized graph; `model` is consumed. A Gemm becomes a MatMul and an Add."""
    add_infer_metadata(model)
    quantizer = ONNXQuantizer(
        model,
        recipe.granularity == Granularity.PER_CHANNEL,
        recipe.reduce_range,
        QuantizationMode.IntegerOps,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        None,
        [*nodes.quantized, *(f"{name}_MatMul" for name in nodes.quantized)],
        [],
        operators_of(recipe),
        {"MatMulConstBOnly": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    return quantized


def missed(quantized: ModelProto, nodes: NodeChoice) -> list[str]:
    """Nodes that were to be quantized and still compute in float."""
    left = {node.name for node in quantized.graph.node if node.op_type in ("MatMul", "Gemm", "LSTM")}
    return sorted(name for name in nodes.quantized if left & {name, f"{name}_MatMul"})
