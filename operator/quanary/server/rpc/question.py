"""One inference request as gRPC carries it, and its answer in the same form: raw bytes or typed contents. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from quanary.server.data_plane import Headers
from quanary.server.messages import Request, Signature, check_inputs, in_order, wanted_outputs
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.tensors import Malformed, Tensors, from_bytes, from_values, quote, to_bytes
from quanary.wire.inference import MODEL_VERSION, InputTensor, Parameters, RequestedOutput

# The field of typed contents that holds a datatype; FP16 has none.
CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@dataclass(frozen=True)
class RpcQuestion:
    """A `ModelInfer` request."""

    message: pb.ModelInferRequest

    def read(self, signature: Signature) -> Request:
        """What is asked; an answer to raw bytes is raw too."""
        message = self.message
        tensors = [InputTensor(each.name, list(each.shape), each.datatype, _plain(each)) for each in message.inputs]
        check_inputs(tensors, signature)
        wanted = wanted_outputs([RequestedOutput(each.name, _plain(each)) for each in message.outputs], signature)
        names = [each.name for each in wanted]
        is_raw = bool(message.raw_input_contents) or any(signature.datatypes[name] not in CONTENTS for name in names)
        arrays = in_order(_arrays(message, tensors), signature)
        return Request(arrays, tuple((name, is_raw) for name in names), message.id or None)

    def write(self, name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, Headers]:
        """The message of the answer; no headers."""
        answer = pb.ModelInferResponse(model_name=name, model_version=MODEL_VERSION, id=request.id or "")
        for wanted, is_raw in request.outputs:
            array, datatype = outputs[wanted], signature.datatypes[wanted]
            tensor = answer.outputs.add(name=wanted, datatype=datatype, shape=array.shape)
            if is_raw:
                answer.raw_output_contents.append(to_bytes(array, datatype))
            else:
                getattr(tensor.contents, CONTENTS[datatype]).extend(_values(array, datatype))
        return answer.SerializeToString(), ()


def _plain(described: Any) -> Parameters:
    parameters: Mapping[str, pb.InferParameter] = described.parameters
    choices = {name: (each, each.WhichOneof("parameter_choice")) for name, each in parameters.items()}
    return {name: getattr(each, choice) for name, (each, choice) in choices.items() if choice}


def _arrays(message: pb.ModelInferRequest, tensors: list[InputTensor]) -> dict[str, NDArray[Any]]:
    raw = message.raw_input_contents
    if raw and any(each.HasField("contents") for each in message.inputs):
        raise Malformed("found both contents and raw_input_contents; allowed: one of them for all inputs")
    if raw and len(raw) != len(tensors):
        message_text = f"raw_input_contents: found {len(raw)}; allowed: {len(tensors)}, one for each input"
        raise Malformed(message_text)
    arrays: dict[str, NDArray[Any]] = {}
    for position, tensor in enumerate(tensors):
        if tensor.name in arrays:
            text = f"tensor {quote(tensor.name)} is given twice"
            raise Malformed(text)
        given = message.inputs[position]
        arrays[tensor.name] = from_bytes(tensor, memoryview(raw[position])) if raw else _typed(tensor, given)
    return arrays


def _typed(tensor: InputTensor, described: pb.ModelInferRequest.InferInputTensor) -> NDArray[Any]:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        text = f"tensor {quote(tensor.name)}: {tensor.datatype} has no typed contents; send raw_input_contents"
        raise Malformed(text)
    others = [each.name for each, _ in described.contents.ListFields() if each.name != field]
    if others:
        text = f"tensor {quote(tensor.name)}: found {', '.join(others)}; allowed for {tensor.datatype}: {field}"
        raise Malformed(text)
    return from_values(tensor, list(getattr(described.contents, field)))


def _values(array: NDArray[Any], datatype: str) -> list[Any]:
    values: list[Any] = array.ravel().tolist()
    return [str(each).encode() for each in values] if datatype == "BYTES" else values
