"""Small real ONNX models."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def model_of(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], stored: Sequence[Any] = ()) -> bytes:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(stored))
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def classifier(bias: Sequence[float] = (0, 0, 0)) -> bytes:
    """Scores of three classes are the first three of four features, plus `bias`; and their sum."""
    weights = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")
    offsets = numpy_helper.from_array(np.array(bias, np.float32), "b")
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["scores"]),
        helper.make_node("ReduceSum", ["scores"], ["total"], keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("total", TensorProto.FLOAT, []),
    ]
    return model_of(
        nodes, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])], outputs, [weights, offsets]
    )


def echo(datatype: str) -> bytes:
    """Gives back one vector of that datatype."""
    kind = TYPES[datatype]
    node = helper.make_node("Identity", ["x"], ["y"])
    return model_of(
        [node], [helper.make_tensor_value_info("x", kind, ["n"])], [helper.make_tensor_value_info("y", kind, ["n"])]
    )


def lookup() -> bytes:
    """Fails on an index beyond 2."""
    table = numpy_helper.from_array(np.eye(3, dtype=np.float32), "t")
    node = helper.make_node("Gather", ["t", "i"], ["y"])
    return model_of(
        [node],
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [table],
    )


def external() -> bytes:
    """Names a weights file outside of itself."""
    model = onnx.load_model_from_string(classifier())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return bytes(model.SerializeToString())


def custom() -> bytes:
    """Holds, inside an If, an operator that only a library of its maker knows."""
    branch = helper.make_graph(
        [helper.make_node("Fancy", ["x"], ["inner"], name="deep", domain="acme")],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["n"])],
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
    ]
    return model_of([node], inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])


def write(folder: Path, content: bytes, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rowwise(width: int = 4) -> bytes:
    """Scores of three classes are the first three of four features, by way of `width` hidden ones; nothing else."""
    weights = [
        numpy_helper.from_array(np.eye(4, width, dtype=np.float32), "u"),
        numpy_helper.from_array(np.eye(width, 3, dtype=np.float32), "w"),
    ]
    nodes = [helper.make_node("MatMul", ["x", "u"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["scores"])]
    return model_of(nodes, [_floats("x", "n", 4)], [_floats("scores", "n", 3)], weights)


def dynamic() -> bytes:
    """Gives back its input as 8 bits by the range of the whole tensor hold it."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["scores"]),
    ]
    return model_of(nodes, [_floats("x", "n", 4)], [_floats("scores", "n", 4)])


def over_rows(kind: str) -> bytes:
    """Adds to each row the mean of all, or the sum of those before it."""
    axis = numpy_helper.from_array(np.array(0), "axis")
    node = (
        helper.make_node("ReduceMean", ["x"], ["all"], axes=[0])
        if kind == "ReduceMean"
        else helper.make_node(kind, ["x", "axis"], ["all"])
    )
    nodes = [node, helper.make_node("Add", ["x", "all"], ["scores"])]
    return model_of(nodes, [_floats("x", "n", 4)], [_floats("scores", "n", 4)], [axis])


def fixed() -> bytes:
    """Takes one row."""
    return model_of([helper.make_node("Relu", ["x"], ["scores"])], [_floats("x", 1, 4)], [_floats("scores", 1, 4)])


def random() -> bytes:
    """Adds noise."""
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["e"]), helper.make_node("Add", ["x", "e"], ["scores"])]
    return model_of(nodes, [_floats("x", "n", 4)], [_floats("scores", "n", 4)])


def picky() -> bytes:
    """Takes no vector but one of 7 elements."""
    shape = numpy_helper.from_array(np.array([7]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return model_of([node], [_floats("x", "n", "m")], [_floats("y", 7)], [shape])


def _floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def dynamic_by_hand() -> bytes:
    """Looks up tokens and divides them all by the least value of the whole tensor, out of plain operators."""
    table = numpy_helper.from_array(np.array([[1, 2], [3, 40]], np.float32), "t")
    nodes = [
        helper.make_node("Gather", ["t", "i"], ["e"]),
        helper.make_node("ReduceMin", ["e"], ["least"], keepdims=0),
        helper.make_node("Div", ["e", "least"], ["scores"]),
    ]
    inputs = [helper.make_tensor_value_info("i", TensorProto.INT64, ["n", 16])]
    return model_of(nodes, inputs, [_floats("scores", "n", 16, 2)], [table])


def scaled() -> bytes:
    """Multiplies all by a whole number that comes as a scalar."""
    nodes = [
        helper.make_node("Cast", ["k"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "f"], ["scores"]),
    ]
    inputs = [_floats("x", "n", 4), helper.make_tensor_value_info("k", TensorProto.INT64, [])]
    return model_of(nodes, inputs, [_floats("scores", "n", 4)])
