"""ONNX Runtime behind Triton's Python backend, under the name of the backend that NVIDIA builds in C++.

The Triton of PyPI has no other backend than Python's. With this file in its backend directory it takes the very
config.pbtxt that NVIDIA's image takes: same file names, same parameters, requests put together along the first axis.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

Arrays = dict[str, Any]


class TritonPythonModel:
    """One instance of one model, as Triton's Python backend wants it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the version that Triton names."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_thread_count"])
        options.inter_op_num_threads = int(parameters["inter_op_thread_count"])
        path = Path(args["model_repository"], args["model_version"], config["default_model_filename"])
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._scalars = {each.name for each in self._session.get_inputs() if each.shape == []}
        self._inputs = [each["name"] for each in config["input"]]
        self._outputs = [each["name"] for each in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """An answer for each request: of one inference, or of one each if that fails."""
        asked = [self._read(each) for each in requests]
        if len(asked) == 1:
            return [self._answer(asked[0])]
        rows = [len(next(iter(each.values()))) for each in asked]
        joined = {name: np.concatenate([each[name] for each in asked]) for name in self._inputs}
        try:
            outputs = self._run(joined)
        except Exception:  # noqa: BLE001  the one to blame will fail again, alone
            return [self._answer(each) for each in asked]
        ends = np.cumsum(rows)[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [_response({name: parts[name][index] for name in self._outputs}) for index in range(len(asked))]

    def _read(self, request: Any) -> Arrays:
        arrays = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        return {name: array.reshape(()) if name in self._scalars else array for name, array in arrays.items()}

    def _answer(self, inputs: Arrays) -> Any:
        try:
            return _response(self._run(inputs))
        except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
            return triton.InferenceResponse([], triton.TritonError(f"onnx runtime error: {error}"))

    def _run(self, inputs: Arrays) -> Arrays:
        feeds = {
            name: np.char.decode(array.astype(np.bytes_)).astype(np.object_) if array.dtype.kind == "O" else array
            for name, array in inputs.items()
        }
        return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))


def _response(outputs: Arrays) -> Any:
    # Triton has no scalars: its own backend too gives them as one element.
    return triton.InferenceResponse(
        [triton.Tensor(name, np.ascontiguousarray(np.atleast_1d(array))) for name, array in outputs.items()]
    )
