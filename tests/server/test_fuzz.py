"""Hostile requests by the thousand: each is understood or refused with a message, and nothing else ever happens.

The same ones every time; as many new ones as you like by

    QUANARY_FUZZ_EXAMPLES=200000 .venv/bin/pytest tests/server/test_fuzz.py
"""

import json
import os
import struct
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quanary.server.http.question import HttpQuestion
from quanary.server.messages import Request, Signature, read_response
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.rpc.question import RpcQuestion
from quanary.server.tensors import DTYPES, Malformed
from quanary.wire.inference import TensorMetadata

EXAMPLES = int(os.environ.get("QUANARY_FUZZ_EXAMPLES", "0"))
hostile = settings(
    max_examples=EXAMPLES or 600,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

ANY_SHAPE = {"x": "FP32", "s": "BYTES", "i": "INT8"}
SIGNATURE = Signature(
    tuple(TensorMetadata(name, datatype, (-1, -1)) for name, datatype in ANY_SHAPE.items()),
    (TensorMetadata("y", "FP32", (-1,)), TensorMetadata("h", "FP16", (-1,))),
)
ONE = Signature((TensorMetadata("x", "FP32", (-1, 4)),), SIGNATURE.outputs)

integers = st.one_of(st.integers(-3, 5), st.sampled_from([2**31, 2**62, 2**63, 2**64, 2**70, -(2**63)]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), 1e308, "NaN", "", "süß", "\x00", "\ud800"]),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=16)
names = st.sampled_from([*ANY_SHAPE, "y", "", "x" * 300])
parameters = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "classification", "shared_memory_region", "z"]),
    scalars,
    max_size=2,
)
tensor = st.fixed_dictionaries(
    {
        "name": names,
        "shape": st.lists(integers, max_size=4),
        "datatype": st.sampled_from([*DTYPES, "BF16", "", "fp32"]),
    },
    optional={"data": values, "parameters": parameters},
)
fitting = st.fixed_dictionaries(
    {"name": st.sampled_from(list(ANY_SHAPE)), "shape": st.sampled_from([[1, 2], [0, 3], [2, 2**62], [0, 2**62]])},
    optional={"data": st.lists(scalars, max_size=4), "parameters": parameters},
).map(lambda one: {**one, "datatype": ANY_SHAPE[str(one["name"])]})
messages = st.fixed_dictionaries(
    {"inputs": st.one_of(values, st.lists(st.one_of(tensor, fitting), max_size=4))},
    optional={
        "id": scalars,
        "parameters": parameters,
        "outputs": st.lists(st.fixed_dictionaries({"name": names}, optional={"parameters": parameters}), max_size=3),
    },
)
lengths = st.one_of(
    st.none(),
    st.integers(-2, 400).map(lambda size: str(size).encode()),
    st.sampled_from([b"", b"+1", b"1_0", b"\xff", b"9" * 400]),
)


def check(request: Request, signature: Signature) -> None:
    assert list(request.inputs) == [each.name for each in signature.inputs]
    for each in signature.inputs:
        array = request.inputs[each.name]
        assert array.dtype == DTYPES[each.datatype]
        assert len(array.shape) == len(each.shape)
        assert array.nbytes <= 2**20
    assert {name for name, _ in request.outputs} <= {each.name for each in signature.outputs}


def ask(body: bytes, length: bytes | None, signature: Signature) -> bool:
    """Whether it was understood."""
    try:
        request = HttpQuestion(body, length).read(signature)
    except Malformed as error:
        return is_told(error)
    check(request, signature)
    return True


def is_told(error: Malformed) -> bool:
    """That it was not understood, in a few words."""
    assert 0 < len(str(error)) < 2000
    return False


def as_json(message: Any) -> bytes:
    return json.dumps(message).encode("utf-8", "surrogatepass")


@hostile
@given(st.binary(max_size=200), lengths)
def test_any_bytes(body: bytes, length: bytes | None) -> None:
    ask(body, length, SIGNATURE)
    ask(body, length, ONE)


@hostile
@given(messages, st.binary(max_size=40), st.sampled_from(["right", "none", "short", "long"]))
def test_any_message_of_the_protocol(message: Any, tail: bytes, length: str) -> None:
    head = as_json(message)
    said = {"right": len(head), "short": len(head) - 1, "long": len(head) + 1}.get(length)
    ask(head + tail, None if said is None else str(said).encode(), SIGNATURE)


GOOD_HEAD = as_json(
    {
        "id": "7",
        "inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
            {"name": "s", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
            {"name": "i", "shape": [2, 1], "datatype": "INT8", "data": [[1], [-2]]},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
)
GOOD = GOOD_HEAD + np.array([1, 2], "<f4").tobytes() + struct.pack("<I", 3) + b"abc" + struct.pack("<I", 0)


def test_the_seed_is_understood() -> None:
    assert ask(GOOD, str(len(GOOD_HEAD)).encode(), SIGNATURE)


@st.composite
def changed(draw: st.DrawFn, seed: bytes) -> bytes:
    """The seed with some bytes changed, cut out or put in."""
    body = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(body)))
        match draw(st.integers(0, 3)):
            case 0:
                body[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del body[place : place + draw(st.integers(1, 12))]
            case 2:
                body[place:place] = draw(st.sampled_from([b"-", b"9" * 30, b"[", b'"', b"\xff", b"\x00" * 5, b"1e999"]))
            case _:
                body[place:place] = body[place : place + draw(st.integers(1, 40))]
    return bytes(body)


@hostile
@given(changed(GOOD), st.integers(-3, 3))
def test_a_good_request_gone_bad(body: bytes, shift: int) -> None:
    ask(body, str(len(GOOD_HEAD) + shift).encode(), SIGNATURE)


@hostile
@given(changed(GOOD), st.integers(-3, 3))
def test_an_answer_of_a_twin_gone_bad(body: bytes, shift: int) -> None:
    answer = body.replace(b'"inputs"', b'"model_name": "m", "outputs"')
    try:
        read_response(answer, str(len(answer) - 19 + shift).encode())
    except Malformed as error:
        is_told(error)


def call(content: bytes, signature: Signature) -> bool:
    try:
        request = RpcQuestion(pb.ModelInferRequest.FromString(content)).read(signature)
    except DecodeError:
        return False
    except Malformed as error:
        return is_told(error)
    check(request, signature)
    return True


def good_call() -> bytes:
    described = [("x", "FP32", [1, 2]), ("s", "BYTES", [1, 2]), ("i", "INT8", [2, 1])]
    tensors = [
        pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in described
    ]
    blobs = [GOOD[len(GOOD_HEAD) :][:8], GOOD[len(GOOD_HEAD) + 8 :], b"\x01\xfe"]
    content: bytes = pb.ModelInferRequest(inputs=tensors, raw_input_contents=blobs).SerializeToString()
    return content


def test_the_seed_call_is_understood() -> None:
    assert call(good_call(), SIGNATURE)


@hostile
@given(st.one_of(st.binary(max_size=200), changed(good_call())))
def test_any_call(content: bytes) -> None:
    call(content, SIGNATURE)


@hostile
@given(
    st.lists(
        st.tuples(names, st.sampled_from([*DTYPES, "BF16"]), st.lists(st.integers(-2, 4), max_size=3)), max_size=4
    ),
    st.lists(st.binary(max_size=20), max_size=4),
    st.lists(st.floats(width=32), max_size=4),
)
def test_any_call_of_the_protocol(described: Any, blobs: list[bytes], contents: list[float]) -> None:
    message = pb.ModelInferRequest(raw_input_contents=blobs)
    for name, datatype, shape in described:
        typed = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if contents:
            typed.contents.fp32_contents.extend(contents)
    call(message.SerializeToString(), SIGNATURE)
