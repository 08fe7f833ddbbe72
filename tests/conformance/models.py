"""The two models of the suite: `python -m tests.conformance.models FOLDER`"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.server.models import TYPES, model_of


def classifier() -> bytes:
    """Scores of three classes are the first three of four features; and their sum, as one element of a matrix."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"]), helper.make_node("ReduceSum", ["scores"], ["total"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("total", TensorProto.FLOAT, [1, 1]),
    ]
    return model_of(nodes, inputs, outputs, [numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "w")])


def types() -> bytes:
    """Gives back a vector of every datatype: `in_fp32` as `out_fp32`."""
    names = [(f"in_{name.lower()}", f"out_{name.lower()}", kind) for name, kind in TYPES.items()]
    nodes = [helper.make_node("Identity", [given], [back]) for given, back, _ in names]
    inputs = [helper.make_tensor_value_info(given, kind, ["n"]) for given, _, kind in names]
    outputs = [helper.make_tensor_value_info(back, kind, ["n"]) for _, back, kind in names]
    return model_of(nodes, inputs, outputs)


MODELS = {"classifier": classifier, "types": types}


def write(folder: Path) -> dict[str, Path]:
    """Both as files, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in MODELS}
    for name, path in paths.items():
        path.write_bytes(MODELS[name]())
    return paths


if __name__ == "__main__":
    print("\n".join(str(path) for path in write(Path(sys.argv[1])).values()))
