"""One tensor as bytes and back."""

import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from quanary.server.tensors import DTYPES, Malformed, from_bytes, read_tensors, shape_text, to_bytes, to_json
from quanary.wire.inference import ELEMENT_BYTES, InputTensor

NONE = memoryview(b"")


def described(datatype: str, shape: list[int], data: Any = None, **parameters: Any) -> InputTensor:
    raw = msgspec.Raw(b"") if data is None else msgspec.Raw(msgspec.json.encode(data))
    return InputTensor("x", shape, datatype, parameters, raw)


@pytest.mark.parametrize("datatype", sorted(set(ELEMENT_BYTES) - {"BYTES"}))
@given(data=st.data())
def test_binary_comes_back_bit_by_bit(datatype: str, data: st.DataObject) -> None:
    array = data.draw(numpy_strategies.arrays(DTYPES[datatype], numpy_strategies.array_shapes(min_side=0)))
    blob = to_bytes(array, datatype)
    tensor = described(datatype, list(array.shape), binary_data_size=len(blob))
    back = read_tensors([tensor], memoryview(b"?" + blob)[1:])["x"]
    assert (back.shape, back.tobytes()) == (array.shape, array.tobytes())
    assert back.flags.aligned


@pytest.mark.parametrize("datatype", ["BOOL", "FP32", "INT64", "BYTES"])
def test_a_scalar_has_no_dimensions(datatype: str) -> None:
    scalar = np.ones((), DTYPES[datatype])
    blob = to_bytes(scalar, datatype)
    in_binary = read_tensors([described(datatype, [], binary_data_size=len(blob))], memoryview(blob))["x"]
    in_json = read_tensors([described(datatype, [], ["1"] if datatype == "BYTES" else [scalar.item()])], NONE)["x"]
    assert in_binary.shape == in_json.shape == ()
    assert in_binary.item() == in_json.item()


@pytest.mark.parametrize("datatype", ["BOOL", "FP32", "BYTES"])
def test_what_does_not_lie_in_a_row_is_written_in_row_major_order(datatype: str) -> None:
    array = np.array([[0, 1, 0], [1, 1, 0]]).astype(DTYPES[datatype])
    for view in (array.T, array[:, ::2]):
        assert to_bytes(view, datatype) == to_bytes(view.copy("C"), datatype)
        assert list(to_json("x", view, datatype)) == list(to_json("x", view.copy("C"), datatype))


def test_what_lies_well_is_not_copied() -> None:
    blob = np.arange(4, dtype=np.float32).tobytes()
    tensor = described("FP32", [4])
    whole, shifted = from_bytes(tensor, memoryview(blob)), from_bytes(tensor, memoryview(b"?" + blob)[1:])
    assert np.shares_memory(whole, np.frombuffer(blob, np.uint8))
    assert whole.tolist() == shifted.tolist() == [0, 1, 2, 3]
    assert shifted.flags.aligned


@given(items=st.lists(st.text()))
def test_strings_come_back(items: list[str]) -> None:
    array = np.array([*items, None], np.object_)[:-1]
    blob = to_bytes(array, "BYTES")
    back = from_bytes(described("BYTES", [len(items)]), memoryview(blob))
    assert back.tolist() == items


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 127]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("UINT8", [0, 255]),
        ("UINT64", [0, 2**64 - 1]),
        ("FP32", [0.5, 3]),
        ("FP64", [1e300, -1]),
        ("BYTES", ["", "ünï"]),
    ],
)
def test_json_data_is_read_flat_and_nested_and_written_flat(datatype: str, data: list[Any]) -> None:
    flat = read_tensors([described(datatype, [2, 1], data)], NONE)["x"]
    nested = read_tensors([described(datatype, [2, 1], [[item] for item in data])], NONE)["x"]
    assert flat.shape == nested.shape == (2, 1)
    assert flat.tolist() == nested.tolist() == [[item] for item in data]
    assert list(to_json("x", flat, datatype)) == data


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (described("FP8", [1], [1]), "datatype 'FP8'"),
        (described("FP32", [-1], [1]), "no negative dimension"),
        (described("FP32", [2], [1]), "1 elements"),
        (described("FP32", [2**62, 2**62], [1]), "fewer than"),
        (described("FP32", [0, 2**62], binary_data_size=0), "fewer than"),
        (described("FP32", [0, 2**70], binary_data_size=0), "fewer than"),
        (described("FP32", [1], [True]), "Expected `float`"),
        (described("FP32", [1], ["1"]), "Expected `float`"),
        (described("FP32", [1], [1e300]), "outside of FP32"),
        (described("INT8", [1], [128]), "outside of INT8"),
        (described("UINT8", [1], [-1]), "outside of UINT8"),
        (described("INT32", [1], [1.5]), "Expected `int`"),
        (described("BOOL", [1], [1]), "Expected `bool`"),
        (described("FP32", [2, 2], [[1, 2], [3]]), "nested data"),
        (described("FP32", [2, 2], [[1, 2], 3]), "Expected `array`"),
        (described("FP32", [1], {"a": 1}), "Expected `array`"),
        (described("FP16", [1], [1]), "no JSON form"),
        (described("FP32", [1]), "either data or"),
        (described("FP32", [1], [1], binary_data_size=4), "either data or"),
        (described("FP32", [1], binary_data_size=-4), "binary_data_size"),
        (described("FP32", [1], binary_data_size=True), "binary_data_size"),
        (described("FP32", [1], binary_data_size=5), "binary_data_size"),
    ],
)
def test_lies_are_refused(tensor: InputTensor, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read_tensors([tensor], memoryview(b"1234") if tensor.parameters.get("binary_data_size") else NONE)


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"\x01", "past the tensor's end"),
        (struct.pack("<I", 5) + b"ab", "past the tensor's end"),
        (struct.pack("<I", 2**32 - 1), "past the tensor's end"),
        (struct.pack("<I", 1) + b"\xff", "UTF-8"),
        (b"", "0 elements"),
        (struct.pack("<III", 0, 0, 0), "2 elements"),
    ],
)
def test_lying_string_lengths_are_refused(blob: bytes, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        from_bytes(described("BYTES", [1]), memoryview(blob))


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(Malformed, match="given twice"):
        read_tensors([described("FP32", [1], [1])] * 2, NONE)


def test_bytes_that_nobody_claims_are_refused() -> None:
    with pytest.raises(Malformed, match="4 bytes follow"):
        read_tensors([described("FP32", [1], [1])], memoryview(b"1234"))


def test_fp16_is_never_written_as_json() -> None:
    with pytest.raises(Malformed, match="binary_data"):
        to_json("y", np.zeros(1, np.float16), "FP16")


def test_long_shapes_are_cut_in_messages() -> None:
    assert shape_text(list(range(100))).endswith("15, …]")
