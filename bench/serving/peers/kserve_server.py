"""KServe's ModelServer with its defaults. Runs in the peer's environment.

python kserve_server.py MODEL PORT
"""

import sys

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Session(Model):
    """The model `m` in ONNX Runtime on one thread."""

    def __init__(self, path: str) -> None:
        super().__init__("m")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(self, payload: InferRequest, headers=None, response_headers=None):  # noqa: ARG002
        (y,) = self._session.run(["y"], {"x": payload.inputs[0].as_numpy()})
        output = InferOutput("y", list(y.shape), "FP32")
        parameters = payload.parameters or {}
        binary = bool(parameters.get("binary_data_output"))
        output.set_data_from_numpy(y, binary_data=binary)
        return InferResponse(payload.id or "1", "m", [output])


if __name__ == "__main__":
    ModelServer(http_port=int(sys.argv[2]), enable_grpc=False).start([Session(sys.argv[1])])
