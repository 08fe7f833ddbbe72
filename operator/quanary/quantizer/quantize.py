"""The artifact: static QDQ with unsigned 8-bit activations and signed 7-bit weights per channel, on compute nodes only.

Weights of 7 bits cannot overflow the 16-bit sums of CPUs without VNNI (255 * 64 * 2 < 32,768), so that a certificate
holds on both kinds. The library's own defaults (signed activations, one scale a tensor, every Mul and Add) ruin models.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from quanary.quantizer.calibrate import Ranges
from quanary.quantizer.inference import RuntimeErrors
from quanary.quantizer.normalize import CORE
from quanary.wire.report import RefusedError, Settings

KEEP_FLOAT: Final = "spec.quantization.keepFloat"
SETTINGS: Final[Settings] = {
    "format": "QDQ",
    "activations": "UInt8",
    "weights": "Int8",
    "granularity": "PerChannel",
    "reduceRange": True,
    "calibrationMethod": "MinMax",
}


@dataclass(frozen=True)
class NodeChoice:
    """Compute nodes by name."""

    quantized: tuple[str, ...]
    kept_float: tuple[str, ...]


def choose_nodes(model: onnx.ModelProto, keep_float: Sequence[str]) -> NodeChoice:
    """Compute nodes to quantize and to keep, by names and shell patterns.

    Raises:
        RefusedError: a pattern matches no node, or nothing is left to quantize.
    """
    names = [node.name for node in model.graph.node]
    core = [node.name for node in model.graph.node if node.op_type in CORE]
    for pattern in keep_float:
        if not any(_matches(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, core, n=3, cutoff=0.0)
            raise RefusedError(KEEP_FLOAT, f"{pattern!r}, that matches no node", f"nodes such as {', '.join(near)}")
    kept = tuple(name for name in core if any(_matches(name, pattern) for pattern in keep_float))
    if len(kept) == len(core):
        raise RefusedError(KEEP_FLOAT, f"all {len(core)} compute nodes", "at least one compute node left to quantize")
    return NodeChoice(tuple(name for name in core if name not in kept), kept)


def _matches(name: str, pattern: str) -> bool:
    """By name, by pattern, or by the name a node had before it was fused with the next (`<name>/MatMulAddFusion`)."""
    return name == pattern or fnmatchcase(name, pattern) or (name.startswith(f"{pattern}/") and name.endswith("Fusion"))


def quantize(normalized: Path, nodes: NodeChoice, ranges: Ranges, work: Path) -> Path:
    """The INT8 model in `work`; the same inputs give the same bytes.

    Raises:
        RefusedError: the quantizer below fails, or leaves a node in float that it was asked to quantize.
    """
    cache, artifact = work / "ranges.json", work / "int8.onnx"
    bounds = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.bounds.items()}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, bounds), cache)
    try:
        quantize_static(
            normalized,
            artifact,
            calibration_cache_path=cache,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(CORE),
            nodes_to_quantize=list(nodes.quantized),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"QDQOpTypePerChannelSupportToAxis": {"MatMul": 1}},
        )
    except RuntimeErrors as error:
        found = f"a graph that the quantizer cannot handle: {error}"
        raise RefusedError("spec.model.uri", found, "a graph without the node, or the node in keepFloat") from error
    missed = sorted(set(nodes.quantized) - quantized_nodes(onnx.load(artifact)))
    if missed:
        found = f"nodes the quantizer leaves in float: {', '.join(missed)}"
        raise RefusedError("spec.model.uri", found, f"these nodes in {KEEP_FLOAT}, or tensors of known type")
    return artifact


def quantized_nodes(model: onnx.ModelProto) -> set[str]:
    """Compute nodes that take dequantized inputs."""
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {node.name for node in model.graph.node if node.op_type in CORE and set(node.input[:2]) <= dequantized}
