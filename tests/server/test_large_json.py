"""Large JSON bodies read the fast way, and that it says what the common way says."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.server import large_json, messages
from quanary.server.large_json import LARGE_BYTES, read_large
from quanary.server.messages import Request, Signature, read_request
from quanary.server.tensors import Malformed
from quanary.wire.inference import TensorMetadata

SIGNATURE = Signature(
    (TensorMetadata("x", "FP32", (-1, -1)), TensorMetadata("z", "FP64", (-1,))), (TensorMetadata("y", "FP32", (-1,)),)
)
SIZE = 8000


def body(**changed: Any) -> dict[str, Any]:
    values = np.random.default_rng(0).standard_normal(SIZE).tolist()
    x = {"name": "x", "shape": [2, SIZE // 2], "datatype": "FP32", "data": values, **changed.pop("x", {})}
    z = {"name": "z", "shape": [2], "datatype": "FP64", "data": [1, 2.5], **changed.pop("z", {})}
    return {"inputs": [x, z], "id": "seven", "outputs": [{"name": "y"}], **changed}


def outcome(content: bytes, length: bytes | None = None) -> Any:
    """What the asker gets: the request in plain terms, or the refusal."""
    try:
        request: Request = read_request(content, length, SIGNATURE)
    except Malformed as error:
        return str(error)
    arrays = {name: (array.dtype, array.shape, array.tolist()) for name, array in request.inputs.items()}
    return arrays, request.outputs, request.id


def both_ways(content: bytes, monkeypatch: pytest.MonkeyPatch, length: bytes | None = None) -> Any:
    assert len(content) >= LARGE_BYTES
    found = outcome(content, length)
    with monkeypatch.context() as without:
        without.setattr(messages, "read_large", lambda text: None)
        assert found == outcome(content, length)
    return found


def test_a_large_body_of_floats_is_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps(body(parameters={"binary_data_output": True})).encode()
    assert read_large(memoryview(content)) is not None
    arrays, outputs, name = both_ways(content, monkeypatch)
    assert arrays["x"][1] == (2, SIZE // 2)
    assert arrays["z"][2] == [1.0, 2.5]
    assert (outputs, name) == ((("y", True),), "seven")


@pytest.mark.parametrize(
    "changed",
    [
        {"x": {"shape": [2, 5]}},
        {"x": {"shape": [2, -SIZE]}},
        {"x": {"shape": "2"}},
        {"x": {"datatype": "INT64"}},
        {"x": {"datatype": 7}},
        {"x": {"name": "w"}},
        {"x": {"name": "z"}},
        {"x": {"data": [[0.5] * (SIZE // 2)] * 2}},
        {"x": {"data": [*[0.5] * (SIZE - 1), "a"]}},
        {"x": {"data": [*[0.5] * (SIZE - 1), None]}},
        {"x": {"data": [*[0.5] * (SIZE - 1), True]}},
        {"x": {"data": [*[0.5] * (SIZE - 1), 1e39]}},
        {"x": {"data": [*[0.5] * (SIZE - 1), 2**70]}},
        {"x": {"data": [*[0.5] * (SIZE - 2), [0.5, 0.5]]}},
        {"x": {"data": {"0": 0.5}, "name": "x" * LARGE_BYTES}},
        {"x": {"parameters": {"binary_data_size": 8}}},
        {"z": {"data": []}},
        {"z": {"data": [], "shape": [0]}},
        {"outputs": [{"name": "q"}]},
        {"outputs": 7},
        {"id": 7},
        {"id": None},
        {"inputs": [{"data": [0.5] * SIZE}]},
        {"inputs": {"data": [0.5] * SIZE}},
        {"extra": {"nested": [1, [2]]}},
    ],
)
def test_what_it_cannot_read_is_read_or_refused_as_ever(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    both_ways(json.dumps(body(**changed)).encode(), monkeypatch)


@pytest.mark.parametrize("cut", [1, 2, 100, LARGE_BYTES // 2])
def test_a_body_that_is_cut_is_refused_as_ever(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "JSON part" in both_ways(json.dumps(body()).encode()[:-cut], monkeypatch)


def test_binary_tensors_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    given = body()
    del given["inputs"][1]["data"]
    given["inputs"][1]["parameters"] = {"binary_data_size": 16}
    head = json.dumps(given).encode()
    both_ways(head + np.array([1, 2.5]).tobytes(), monkeypatch, str(len(head)).encode())


def test_the_parser_serves_the_next_body_after_a_bad_one() -> None:
    content = json.dumps(body()).encode()
    assert read_large(memoryview(content[:-1])) is None
    assert read_large(memoryview(json.dumps(body(x={"datatype": "BYTES"})).encode())) is None
    assert read_large(memoryview(content)) is not None


def test_of_a_body_beyond_the_bound_no_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_json, "REUSE_BYTES", 1000)
    monkeypatch.setattr(large_json, "_parser", None)
    assert read_large(memoryview(json.dumps(body()).encode())) is not None


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.integers(0, SIZE))
def test_whatever_is_broken_into_it_never_raises(noise: bytes, place: int) -> None:
    content = json.dumps(body()).encode()
    read_large(memoryview(content[:place] + noise + content[place:]))
