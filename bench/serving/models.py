"""Models of three kinds, always the same bytes, and the bodies that are sent to them.

mlp runs some hundredths of a millisecond; trf (a small transformer) and cnn some milliseconds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

TOKENS: Final = 64
WIDTH: Final = 256
LAYERS: Final = 4
VOCABULARY: Final = 1000
SIDE: Final = 112
OUTPUT: Final = "y"


class Graph:
    """A graph that grows node by node; weights are random, scaled so that values neither vanish nor explode."""

    def __init__(self) -> None:
        """Empty."""
        self.nodes: list[Any] = []
        self.stored: list[Any] = []
        self._random = np.random.default_rng(0)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new node."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int, fan_in: int) -> str:
        """The name of a random tensor."""
        return self.store((self._random.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float32))

    def store(self, array: NDArray[Any]) -> str:
        """The name of a tensor."""
        self.stored.append(numpy_helper.from_array(array, f"w{len(self.stored)}"))
        return str(self.stored[-1].name)

    def linear(self, x: str, size_in: int, size_out: int) -> str:
        """`x @ w + b`."""
        product = self.add("MatMul", x, self.weight(size_in, size_out, fan_in=2 * size_in))
        return self.add("Add", product, self.store(np.zeros(size_out, np.float32)))

    def end(self, x: str, kind: int, shape_in: Sequence[Any], size_out: int) -> bytes:
        """The model from `x` to `y`, of rows."""
        self.nodes.append(helper.make_node("Identity", [x], [OUTPUT]))
        inputs = [helper.make_tensor_value_info("x", kind, ["n", *shape_in])]
        outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", size_out])]
        graph = helper.make_graph(self.nodes, "bench", inputs, outputs, self.stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def mlp() -> bytes:
    """64-256-256-10."""
    graph = Graph()
    hidden = graph.add("Relu", graph.linear("x", 64, 256))
    hidden = graph.add("Relu", graph.linear(hidden, 256, 256))
    return graph.end(graph.linear(hidden, 256, 10), TensorProto.FLOAT, [64], 10)


def transformer() -> bytes:
    """Four layers of attention and feed-forward over 64 tokens."""
    graph = Graph()
    x = graph.add("Gather", graph.weight(VOCABULARY, WIDTH, fan_in=2), "x")
    for _ in range(LAYERS):
        x = graph.add("Add", x, _attention(graph, _normalized(graph, x)))
        hidden = graph.add("Relu", graph.linear(_normalized(graph, x), WIDTH, 4 * WIDTH))
        x = graph.add("Add", x, graph.linear(hidden, 4 * WIDTH, WIDTH))
    pooled = graph.add("ReduceMean", x, axes=[1], keepdims=0)
    return graph.end(graph.linear(pooled, WIDTH, 16), TensorProto.INT64, [TOKENS], 16)


def _normalized(graph: Graph, x: str) -> str:
    scale, bias = graph.store(np.ones(WIDTH, np.float32)), graph.store(np.zeros(WIDTH, np.float32))
    return graph.add("LayerNormalization", x, scale, bias)


def _attention(graph: Graph, x: str) -> str:
    heads, size = 4, WIDTH // 4
    shape = graph.store(np.array([0, TOKENS, heads, size]))
    parts = [graph.add("Reshape", graph.linear(x, WIDTH, WIDTH), shape) for _ in range(3)]
    query, value = (graph.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (parts[0], parts[2]))
    key = graph.add("Transpose", parts[1], perm=[0, 2, 3, 1])
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.store(np.float32(size**-0.5)))
    mixed = graph.add("MatMul", graph.add("Softmax", scores), value)
    joined = graph.add(
        "Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), graph.store(np.array([0, TOKENS, WIDTH]))
    )
    return graph.linear(joined, WIDTH, WIDTH)


def cnn() -> bytes:
    """Convolutions on a picture of 112 x 112, 1000 classes."""
    graph = Graph()
    x = _convolved(graph, "x", 3, 32, 2)
    x = _convolved(graph, x, 32, 64, 2)
    for _ in range(10):
        x = graph.add("Add", x, _convolved(graph, x, 64, 64, 1))
    x = _convolved(graph, x, 64, 128, 2)
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", x))
    return graph.end(graph.linear(pooled, 128, 1000), TensorProto.FLOAT, [3, SIDE, SIDE], 1000)


def _convolved(graph: Graph, x: str, size_in: int, size_out: int, stride: int) -> str:
    weight = graph.weight(size_out, size_in, 3, 3, fan_in=size_in * 9)
    return graph.add("Relu", graph.add("Conv", x, weight, pads=[1, 1, 1, 1], strides=[stride, stride]))


@dataclass(frozen=True)
class Body:
    """A request's body and the headers that describe it."""

    content: bytes
    headers: tuple[str, ...] = ("Content-Type: application/json",)


@dataclass(frozen=True)
class Case:
    """A model, one row for it, and the body that carries the row."""

    name: str
    model: Path
    row: NDArray[Any]
    body: Body


def make(folder: Path) -> list[Case]:
    """All cases, their models written to `folder`."""
    random = np.random.default_rng(1)
    rows = {
        "mlp": random.standard_normal((1, 64)).astype(np.float32).round(4),
        "trf": random.integers(0, VOCABULARY, (1, TOKENS)),
        "cnn": random.standard_normal((1, 3, SIDE, SIDE)).astype(np.float32).round(6),
    }
    for name, content in (("mlp", mlp()), ("trf", transformer()), ("cnn", cnn())):
        (folder / f"{name}.onnx").write_bytes(content)

    def case(name: str, model: str, body: Body) -> Case:
        return Case(name, folder / f"{model}.onnx", rows[model], body)

    return [
        case("tiny", "mlp", _json(rows["mlp"])),
        case("small-body", "trf", _json(rows["trf"])),
        case("binary-body", "cnn", _binary(rows["cnn"])),
        case("json-body", "cnn", _json(rows["cnn"])),
    ]


def _tensor(row: NDArray[Any]) -> dict[str, Any]:
    return {"name": "x", "shape": list(row.shape), "datatype": {"f": "FP32", "i": "INT64"}[row.dtype.kind]}


def _json(row: NDArray[Any]) -> Body:
    values = [float(str(each)) if row.dtype.kind == "f" else int(each) for each in row.ravel()]
    return Body(json.dumps({"inputs": [{**_tensor(row), "data": values}]}, separators=(",", ":")).encode())


def _binary(row: NDArray[Any]) -> Body:
    tensor = {**_tensor(row), "parameters": {"binary_data_size": row.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
    return Body(head + row.tobytes(), headers)
