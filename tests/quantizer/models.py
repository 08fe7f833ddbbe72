"""Small real ONNX models and data, the same every time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Floats = npt.NDArray[np.float32]

CLASSES = 4
SIDE = 10


def weights(*shape: int, seed: int, scale: float = 0.5) -> Floats:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def model_of(
    nodes: list[NodeProto],
    initializers: Mapping[str, Any],
    inputs: dict[str, list[int | str]],
    outputs: tuple[str, ...] = ("scores",),
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def classifier(opset: int = 17) -> ModelProto:
    """Two Conv, then MatMul and Add with a bias of [1, N], that ONNX Runtime fuses to a Gemm."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "stem", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"], "act"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "body", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w3"], ["m"], "head"),
        helper.make_node("Add", ["m", "b3"], ["scores"], "bias"),
    ]
    initializers = {
        "w1": weights(8, 3, 3, 3, seed=1),
        "b1": weights(8, seed=2),
        "w2": weights(16, 8, 3, 3, seed=3),
        "w3": weights(16, CLASSES, seed=4),
        "b3": weights(1, CLASSES, seed=5, scale=0.1),
    }
    return model_of(nodes, initializers, {"image": ["n", 3, SIDE, SIDE]}, opset=opset)


def images(count: int, seed: int) -> Floats:
    """Around a few prototypes, so that classes lie apart as real ones do."""
    draw = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).standard_normal((6, 3, SIDE, SIDE)) * 2
    return (prototypes[draw.integers(0, 6, count)] + draw.standard_normal((count, 3, SIDE, SIDE)) * 0.3).astype("f4")


def answers(model: ModelProto, batch: Floats) -> npt.NDArray[np.int64]:
    """The model's own top-1 classes."""
    scores = ReferenceEvaluator(model).run(None, {"image": batch})[0]
    return np.array(np.argmax(scores, axis=-1), np.int64)


def save(model: ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def save_shards(folder: Path, *shards: dict[str, npt.NDArray[np.generic]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, arrays in enumerate(shards):
        np.savez(folder / f"shard-{index:03}.npz", **arrays)  # type: ignore[arg-type]
    return folder
