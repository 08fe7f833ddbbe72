"""Inference requests as gRPC carries them."""

import struct
from typing import Any

import numpy as np
import pytest

from quanary.server.messages import Signature
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.rpc.question import CONTENTS, RpcQuestion
from quanary.server.tensors import DTYPES, Malformed
from quanary.wire.inference import TensorMetadata

VALUES: dict[str, list[Any]] = {name: [0, 1] for name in DTYPES} | {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [0.5, -2],
    "FP32": [0.5, -2],
    "BYTES": ["", "süß"],
}


def vector(datatype: str) -> Signature:
    return Signature((TensorMetadata("x", datatype, (-1,)),), (TensorMetadata("y", datatype, (-1,)),))


def typed(datatype: str, values: list[Any], shape: tuple[int, ...] = (2,), **more: Any) -> pb.ModelInferRequest:
    contents = pb.InferTensorContents(**{CONTENTS[datatype]: values})
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape, contents=contents)
    return pb.ModelInferRequest(inputs=[tensor], **more)


def raw(datatype: str, *blobs: bytes, shape: tuple[int, ...] = (2,)) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    return pb.ModelInferRequest(inputs=[tensor], raw_input_contents=blobs)


def echoed(message: pb.ModelInferRequest, datatype: str) -> pb.ModelInferResponse:
    question, signature = RpcQuestion(message), vector(datatype)
    request = question.read(signature)
    body, headers = question.write("m", request, {"y": request.inputs["x"]}, signature)
    assert headers == ()
    answer: pb.ModelInferResponse = pb.ModelInferResponse.FromString(body)
    return answer


@pytest.mark.parametrize("datatype", list(CONTENTS))
def test_typed_in_typed_out(datatype: str) -> None:
    values = [each.encode() for each in VALUES["BYTES"]] if datatype == "BYTES" else VALUES[datatype]
    answer = echoed(typed(datatype, values, id="q"), datatype)
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "q")
    assert (answer.outputs[0].name, answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("y", datatype, [2])
    assert list(getattr(answer.outputs[0].contents, CONTENTS[datatype])) == values
    assert not answer.raw_output_contents


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BYTES"])
def test_raw_in_raw_out(datatype: str) -> None:
    blob = np.array(VALUES[datatype], DTYPES[datatype]).tobytes()
    answer = echoed(raw(datatype, blob), datatype)
    assert list(answer.raw_output_contents) == [blob]
    assert not answer.outputs[0].HasField("contents")


def test_raw_strings_have_their_lengths_before_them() -> None:
    blob = struct.pack("<I", 0) + struct.pack("<I", 5) + "süß".encode()
    assert list(echoed(raw("BYTES", blob), "BYTES").raw_output_contents) == [blob]


def test_outputs_come_as_asked() -> None:
    outputs = (TensorMetadata("y", "FP32", (-1,)), TensorMetadata("z", "FP32", (-1,)))
    message = typed("FP32", [1, 2])
    message.outputs.add(name="z")
    message.outputs.add(name="y")
    assert RpcQuestion(message).read(Signature(vector("FP32").inputs, outputs)).outputs == (("z", False), ("y", False))


def test_an_empty_tensor_needs_no_contents() -> None:
    assert RpcQuestion(raw("FP32", shape=(0,))).read(vector("FP32")).inputs["x"].shape == (0,)


def test_what_has_no_typed_form_makes_the_whole_answer_raw() -> None:
    outputs = (TensorMetadata("y", "FP32", (-1,)), TensorMetadata("h", "FP16", (-1,)))
    request = RpcQuestion(typed("FP32", [1, 2])).read(Signature(vector("FP32").inputs, outputs))
    assert request.outputs == (("y", True), ("h", True))


def changed(message: pb.ModelInferRequest, **more: Any) -> pb.ModelInferRequest:
    message.MergeFrom(pb.ModelInferRequest(**more))
    return message


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (pb.ModelInferRequest(), "input 'x' is missing"),
        (typed("INT8", [0, 300]), "found datatype 'INT8'"),
        (typed("FP32", [1, 2, 3]), "3 elements; shape .2. takes 2"),
        (typed("FP32", [1, 2], (-2,)), "no negative dimension"),
        (typed("FP32", [1, 2], (1, 2)), "found shape .1, 2.; allowed: .-1."),
        (typed("FP32", [1, 2], (2**62,)), "fewer than"),
        (changed(typed("FP32", [1, 2]), raw_input_contents=[b"12345678"]), "both contents and raw_input_contents"),
        (raw("FP32", b"1234567"), "found 7 bytes"),
        (raw("FP32", b"12345678", b""), "raw_input_contents: found 2; allowed: 1"),
        (changed(raw("FP32", b"12345678"), inputs=raw("FP32").inputs, raw_input_contents=[b"12345678"]), "given twice"),
        (changed(typed("FP32", [1, 2]), outputs=[{"name": "z"}]), "output 'z' is unknown"),
        (changed(typed("FP32", [1, 2]), outputs=[{"name": "y"}, {"name": "y"}]), "named twice"),
        (
            changed(
                typed("FP32", [1, 2]), outputs=[{"name": "y", "parameters": {"classification": {"int64_param": 3}}}]
            ),
            "classification",
        ),
    ],
)
def test_lies_are_refused(message: pb.ModelInferRequest, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        RpcQuestion(message).read(vector("FP32"))


def test_values_outside_of_the_datatype_are_refused() -> None:
    with pytest.raises(Malformed, match="outside of INT8"):
        RpcQuestion(typed("INT8", [0, 300])).read(vector("INT8"))


def test_contents_of_another_type_are_refused() -> None:
    message = typed("FP32", [1, 2])
    message.inputs[0].datatype = "FP64"
    with pytest.raises(Malformed, match="found fp32_contents; allowed for FP64: fp64_contents"):
        RpcQuestion(message).read(vector("FP64"))


def test_half_precision_has_no_typed_contents() -> None:
    message = typed("FP32", [1, 2])
    message.inputs[0].datatype = "FP16"
    with pytest.raises(Malformed, match="send raw_input_contents"):
        RpcQuestion(message).read(vector("FP16"))


def test_shared_memory_is_refused_by_name() -> None:
    message = raw("FP32", b"12345678")
    message.inputs[0].parameters["shared_memory_region"].string_param = "/region"
    with pytest.raises(Malformed, match="shared memory"):
        RpcQuestion(message).read(vector("FP32"))
