"""A model of Triton's Python backend that joins what dynamic batching brings. Runs in the peer's environment."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    """The model in ONNX Runtime on one thread."""

    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = json.loads(args["model_config"])["parameters"]["path"]["string_value"]
        self._session = onnxruntime.InferenceSession(str(Path(path)), options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        rows = [pb.get_input_tensor_by_name(each, "x").as_numpy() for each in requests]
        (y,) = self._session.run(["y"], {"x": np.concatenate(rows) if len(rows) > 1 else rows[0]})
        parts = np.split(y, np.cumsum([len(each) for each in rows])[:-1])
        return [pb.InferenceResponse([pb.Tensor("y", part)]) for part in parts]
