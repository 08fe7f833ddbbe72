"""Whole requests and answers against what a model declares."""

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.server import messages
from quanary.server.messages import (
    JSON_LIMIT_BYTES,
    Request,
    Signature,
    read_request,
    read_response,
    write_request,
    write_response,
)
from quanary.server.tensors import Malformed
from quanary.wire.inference import TensorMetadata

TWO = Signature(
    (TensorMetadata("a", "FP32", (-1, 2)), TensorMetadata("b", "BYTES", (1,))),
    (TensorMetadata("y", "FP32", (-1, 2)), TensorMetadata("h", "FP16", (1,))),
)
A = {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
B = {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["t"]}


def read(**message: Any) -> Request:
    return read_request(json.dumps(message).encode(), None, TWO)


def test_inputs_come_in_the_model_s_order() -> None:
    assert list(read(inputs=[B, A]).inputs) == ["a", "b"]


def test_a_tensor_that_is_kept_keeps_no_long_head() -> None:
    signature = Signature((TensorMetadata("x", "INT8", (-1,)),), (TensorMetadata("y", "FP32", (-1,)),))
    tensor = {"name": "x", "shape": [8], "datatype": "INT8", "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [tensor], "parameters": {"padding": "p" * 2**20}}).encode()
    kept: Any = read_request(head + bytes(8), str(len(head)).encode(), signature).inputs["x"]
    while getattr(kept, "base", None) is not None:
        kept = kept.base
    assert memoryview(kept).nbytes == 8


def test_without_outputs_all_are_wanted() -> None:
    assert read(inputs=[A, B]).outputs == (("y", False), ("h", False))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"inputs": [A]}, "input 'b' is missing"),
        ({"inputs": [A, B, {**A, "name": "c"}]}, "input 'c' is unknown; the model takes 'a', 'b'"),
        ({"inputs": [{**A, "datatype": "FP64"}, B]}, "found datatype 'FP64'; allowed: FP32"),
        ({"inputs": [{**A, "shape": [2]}, B]}, r"found shape \[2\]; allowed: \[-1, 2\]"),
        ({"inputs": [{**A, "shape": [2, 1]}, B]}, r"found shape \[2, 1\]"),
        ({"inputs": [{**A, "shape": [-1, 2]}, B]}, "no negative dimension"),
        ({"inputs": [{**A, "shape": [-3, 2]}, B]}, "no negative dimension"),
        ({"inputs": [A, B, A]}, "given twice"),
        ({"inputs": [A, B], "outputs": [{"name": "z"}]}, "output 'z' is unknown; the model gives 'y', 'h'"),
        ({"inputs": [A, B], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "classification"),
        ({"inputs": [{**A, "name": "n" * 5000}]}, "nnn…"),
        ({"inputs": [A, B], "outputs": [{"name": "y"}, {"name": "y"}]}, "output 'y' is named twice"),
        ({"inputs": [A, {**B, "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [A, B], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [A, B], "id": "7" * JSON_LIMIT_BYTES}, "16777216, larger tensors in binary"),
    ],
)
def test_misfits_are_refused_with_what_is_allowed(message: dict[str, Any], words: str) -> None:
    with pytest.raises(Malformed, match=words) as refused:
        read(**message)
    assert len(str(refused.value)) < 400


FLOATS = Signature(
    (TensorMetadata("a", "FP32", (-1, 2)), TensorMetadata("s", "FP64", ())), (TensorMetadata("y", "FP32", (-1, 2)),)
)
S = {"name": "s", "shape": [], "datatype": "FP64", "data": [0.1]}


@pytest.mark.parametrize(
    ("message", "is_flat"),
    [
        ({"inputs": [A, S]}, True),
        ({"inputs": [S, {**A, "data": [0.1, -2e3]}], "id": "i", "outputs": [{"name": "y"}]}, True),
        ({"inputs": [{**A, "shape": [0, 2], "data": []}, S], "parameters": {"binary_data_output": True}}, True),
        ({"inputs": [{**A, "data": [[1, 2]]}, S]}, False),
        ({"inputs": [{**A, "data": [1, "2"]}, S]}, False),
        ({"inputs": [{**A, "data": [True, 2]}, S]}, False),
        ({"inputs": [{**A, "data": None}, S]}, False),
        ({"inputs": [{**A, "parameters": {"binary_data_size": 8}}, S]}, True),
        ({"inputs": [{**A, "data": [1e300, 2]}, S]}, True),
        ({"inputs": [{**A, "data": [1]}, S]}, True),
        ({"inputs": [{**A, "datatype": "INT32"}, S]}, True),
        ({"inputs": [{**A, "shape": [-1, 2]}, S]}, True),
        ({"inputs": [A, A]}, True),
        ({"inputs": [A]}, True),
        ({"inputs": [A, S], "extra": [[[]]]}, True),
    ],
)
def test_flat_floats_are_read_at_once_and_said_to_be_what_the_common_way_says(
    message: dict[str, Any], is_flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(message).encode()

    def outcome() -> Any:
        try:
            request = read_request(body, None, FLOATS)
        except Malformed as error:
            return str(error)
        arrays = {name: (each.dtype, each.shape, each.tolist()) for name, each in request.inputs.items()}
        return list(arrays), arrays, request.outputs, request.id

    assert (messages._read_flat(body) is not None) == is_flat
    at_once = outcome()
    monkeypatch.setattr(messages, "_read_flat", lambda text: None)
    assert at_once == outcome()


def test_whole_numbers_are_never_read_as_floats() -> None:
    signature = Signature((TensorMetadata("x", "INT64", (1,)),), TWO.outputs)
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [2**53 + 1]}]}).encode()
    assert read_request(body, None, signature).inputs["x"].tolist() == [2**53 + 1]


def test_a_flat_body_nested_too_deeply_is_refused() -> None:
    body = b'{"inputs": [], "extra": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    with pytest.raises(Malformed, match="nested too deeply"):
        read_request(body, None, FLOATS)


def test_a_model_of_two_inputs_takes_no_bare_body() -> None:
    with pytest.raises(Malformed, match="one input"):
        read_request(b"12345678", b"0", TWO)


@pytest.mark.parametrize(
    ("shape", "datatype", "body", "expected"),
    [
        ((-1, 2), "FP32", bytes(16), (2, 2)),
        ((-1, -1), "UINT8", bytes(5), (1, 5)),
        ((2, 2), "UINT8", bytes(4), (2, 2)),
        ((-1,), "BYTES", b"text", (1,)),
    ],
)
def test_a_bare_body_fills_what_varies(shape: tuple[int, ...], datatype: str, body: bytes, expected: Any) -> None:
    signature = Signature((TensorMetadata("x", datatype, shape),), TWO.outputs)
    request = read_request(body, b"0", signature)
    assert request.inputs["x"].shape == expected
    assert request.outputs == (("y", True), ("h", True))


def test_a_question_to_the_twin_is_a_request_for_one_output_in_binary() -> None:
    inputs = {"a": np.array([[1, 2]], np.float32), "b": np.array(["ü"], np.object_)}
    parts = write_request(inputs, "y", TWO)
    request = read_request(b"".join(parts), str(len(parts[0])).encode(), TWO)
    assert request.outputs == (("y", True),)
    assert request.inputs["a"].tolist() == [[1, 2]]
    assert request.inputs["b"].tolist() == ["ü"]


def test_an_answer_is_read_back_whichever_way_it_was_written() -> None:
    outputs: dict[str, Any] = {"y": np.array([[0.5, 2]], np.float32), "h": np.array([3], np.float16)}
    request = Request({}, (("h", True), ("y", False)), "i")
    body, head = write_response("m", request, outputs, TWO)
    back = read_response(body, str(head).encode())
    assert list(back) == ["h", "y"]
    assert (back["y"].tolist(), back["h"].tolist()) == ([[0.5, 2]], [3])
    assert json.loads(body[:head])["id"] == "i"


@given(body=st.binary(max_size=200), header=st.none() | st.binary(max_size=5))
def test_any_bytes_are_read_or_refused(body: bytes, header: bytes | None) -> None:
    with contextlib.suppress(Malformed):
        read_request(body, header, TWO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a", "FP32"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(tensor=JSON, changed=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]))
def test_any_json_is_read_or_refused(tensor: Any, changed: str) -> None:
    with contextlib.suppress(Malformed):
        read(inputs=[{**A, changed: tensor}, B], outputs=tensor)


def test_an_answer_without_binary_has_no_header_length() -> None:
    body, head = write_response("m", Request({}, (("y", False),)), {"y": np.zeros((0, 2), np.float32)}, TWO)
    assert head is None
    assert json.loads(body)["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0, 2], "data": []}]


def test_fp16_asked_for_in_json_is_the_asker_s_mistake() -> None:
    with pytest.raises(Malformed, match="'h': FP16"):
        write_response("m", Request({}, (("h", False),)), {"h": np.zeros(1, np.float16)}, TWO)


@pytest.mark.parametrize("name", ["x", "xy", "x" * 7])
def test_between_servers_no_tensor_is_copied_to_be_read(name: str) -> None:
    signature = Signature((TensorMetadata(name, "FP64", (-1, 2)),), (TensorMetadata("y", "FP64", (-1, 2)),))
    array = np.array([[1.0, 2.0]])
    head, blob = write_request({name: array}, None, signature)
    request = read_request(head + blob, str(len(head)).encode(), signature)
    assert request.inputs[name].base is not None
    answer, length = write_response("m" * 3, request, {"y": array}, signature)
    assert length is not None
    assert read_response(answer, str(length).encode())["y"].base is not None
    assert (len(head) % 8, length % 8) == (0, 0)
