"""Messages of the protocol as bytes."""

import msgspec
import pytest

from quanary.wire.inference import ELEMENT_BYTES, InferenceRequest, InferenceResponse, ModelMetadata, TensorMetadata


def test_data_stays_undecoded_and_unknown_fields_are_ignored() -> None:
    text = b'{"id":"7","new":1,"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1, 2],"more":{}}]}'
    request = msgspec.json.decode(text, type=InferenceRequest)
    assert request.id == "7"
    assert bytes(request.inputs[0].data) == b"[1, 2]"
    assert request.outputs == []


def test_parameters_are_strings_numbers_and_booleans() -> None:
    text = b'{"inputs":[],"parameters":{"a":"s","b":1,"c":1.5,"d":true}}'
    assert msgspec.json.decode(text, type=InferenceRequest).parameters == {"a": "s", "b": 1, "c": 1.5, "d": True}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"inputs":[],"parameters":{"a":[]}}', type=InferenceRequest)


def test_an_answer_without_version_and_id_is_read() -> None:
    answer = msgspec.json.decode(b'{"model_name":"m","outputs":[]}', type=InferenceResponse)
    assert (answer.model_version, answer.id) == ("", None)


def test_metadata_is_the_protocol_s() -> None:
    metadata = ModelMetadata("m", ("1",), "p", (TensorMetadata("x", "FP32", (-1, 2)),), ())
    assert msgspec.json.decode(msgspec.json.encode(metadata)) == {
        "name": "m",
        "versions": ["1"],
        "platform": "p",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [],
    }


def test_every_datatype_has_its_size() -> None:
    assert {name: size for name, size in ELEMENT_BYTES.items() if name.startswith("FP")} == {
        "FP16": 2,
        "FP32": 4,
        "FP64": 8,
    }
