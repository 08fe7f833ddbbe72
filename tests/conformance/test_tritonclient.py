"""Triton's clients with their defaults."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.conformance.clients import ALL, GRPC, HTTP, Client, connected
from tests.conformance.target import Target

ROWS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)


@pytest.fixture(params=ALL)
def client(request: pytest.FixtureRequest, target: Target) -> Iterator[Client]:
    if request.param in GRPC and not target.grpc:
        pytest.skip("the server speaks no gRPC")
    with connected(request.param, target) as one:
        yield one


@pytest.fixture(params=HTTP)
def http_client(request: pytest.FixtureRequest, target: Target) -> Iterator[Client]:
    with connected(request.param, target) as one:
        yield one


def infer(client: Client, *inputs: Any, **more: Any) -> Any:
    tensors = list(inputs) or [client.input("x", ROWS, "FP32")]
    return client.call("infer", more.pop("model", client.target.model), tensors, **more)


def test_states(client: Client) -> None:
    assert client.call("is_server_live")
    assert client.call("is_server_ready")
    assert client.call("is_model_ready", client.target.model)
    assert client.call("is_model_ready", client.target.model, "1")


def test_descriptions(client: Client) -> None:
    assert client.described("get_server_metadata")["name"]
    metadata = client.described("get_model_metadata", client.target.model)
    assert metadata["name"] == client.target.model
    tensors = [(each["name"], each["datatype"]) for each in (*metadata["inputs"], *metadata["outputs"])]
    assert tensors == [("x", "FP32"), ("scores", "FP32"), ("total", "FP32")]
    assert [int(size) for size in metadata["inputs"][0]["shape"]] == [-1, 4]


def test_an_inference_with_nothing_but_defaults(client: Client) -> None:
    answer = infer(client)
    assert answer.as_numpy("scores").tolist() == [[1, 2, 3], [5, 6, 7]]
    assert answer.as_numpy("total").tolist() == [[24]]


def test_an_inference_of_a_version(client: Client) -> None:
    assert infer(client, model_version="1").as_numpy("total").tolist() == [[24]]


def test_the_id_comes_back(client: Client) -> None:
    response = infer(client, request_id="q7").get_response()
    assert (response["id"] if client.is_http else response.id) == "q7"


def test_outputs_come_as_asked(client: Client) -> None:
    answer = infer(client, outputs=[client.output("total")])
    assert answer.as_numpy("total").tolist() == [[24]]
    assert answer.as_numpy("scores") is None
    response = infer(client, outputs=[client.output("total"), client.output("scores")]).get_response()
    names = [
        each["name"] if client.is_http else each.name
        for each in (response["outputs"] if client.is_http else response.outputs)
    ]
    assert names == ["total", "scores"]


@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_json_and_binary_mix(http_client: Client, binary_in: bool, binary_out: bool) -> None:
    tensor = http_client.input("x", ROWS, "FP32", binary_data=binary_in)
    answer = infer(http_client, tensor, outputs=[http_client.output("scores", binary_data=binary_out)])
    assert answer.as_numpy("scores").tolist() == [[1, 2, 3], [5, 6, 7]]


@pytest.mark.parametrize("answered", [None, "gzip", "deflate"])
@pytest.mark.parametrize("asked", ["gzip", "deflate"])
def test_compressed_bodies(http_client: Client, asked: str, answered: str | None) -> None:
    answer = infer(http_client, request_compression_algorithm=asked, response_compression_algorithm=answered)
    assert answer.as_numpy("scores").tolist() == [[1, 2, 3], [5, 6, 7]]


def test_the_configuration_names_the_tensors(client: Client) -> None:
    config = client.described("get_model_config", client.target.model)
    config = config if client.is_http else config["config"]
    assert [(each["name"], each["data_type"]) for each in config["input"]] == [("x", "TYPE_FP32")]
    assert [each["name"] for each in config["output"]] == ["scores", "total"]


def test_statistics_grow(client: Client) -> None:
    def count() -> int:
        (model,) = client.described("get_inference_statistics", client.target.model)["model_stats"]
        return int(model["inference_stats"]["success"].get("count", 0))

    before = count()
    infer(client)
    assert count() - before == 1


def test_the_index_has_the_model_ready(client: Client) -> None:
    index = client.described("get_model_repository_index")
    models = index if client.is_http else index["models"]
    assert (client.target.model, "READY") in [(each["name"], each.get("state")) for each in models]


def test_models_are_not_loaded_by_clients(client: Client) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.call("load_model", client.target.model)
    assert error.value.message()


def test_many_at_once(target: Target) -> None:
    with connected("http", target) as client:
        tensor = client.input("x", ROWS, "FP32")
        waiting = [client.call("async_infer", target.model, [tensor]) for _ in range(16)]
        assert {each.get_result().as_numpy("total").item() for each in waiting} == {24}


def wrong(client: Client, mistake: str) -> Any:
    """An inference with that mistake."""
    tensor = client.input("x", ROWS, "FP32")
    match mistake:
        case "unknown model":
            return infer(client, tensor, model="nobody")
        case "unknown version":
            return infer(client, tensor, model_version="77")
        case "unknown input":
            return infer(client, tensor, client.input("y", ROWS, "FP32"))
        case "missing input":
            return client.call("infer", client.target.model, [])
        case "unknown output":
            return infer(client, outputs=[client.output("nothing")])
        case "wrong shape":
            return infer(client, client.input("x", np.ones((2, 3), np.float32), "FP32"))
        case "wrong datatype":
            return infer(client, client.input("x", ROWS.astype(np.int64), "INT64"))
        case _:
            raise AssertionError(mistake)


@pytest.mark.parametrize(
    ("mistake", "status", "code"),
    [
        ("unknown model", "404", "NOT_FOUND"),
        ("unknown version", "404", "NOT_FOUND"),
        ("unknown input", "400", "INVALID_ARGUMENT"),
        ("missing input", "400", "INVALID_ARGUMENT"),
        ("unknown output", "400", "INVALID_ARGUMENT"),
        ("wrong shape", "400", "INVALID_ARGUMENT"),
        ("wrong datatype", "400", "INVALID_ARGUMENT"),
    ],
)
def test_mistakes_get_a_message_and_their_status(client: Client, mistake: str, status: str, code: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        wrong(client, mistake)
    assert error.value.message()
    assert error.value.status() == (status if client.is_http else f"StatusCode.{code}")


VALUES: dict[str, NDArray[Any]] = {
    "BOOL": np.array([True, False]),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-(2**15), 2**15 - 1], np.int16),
    "INT32": np.array([-(2**31), 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 2**16 - 1], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "FP16": np.array([0.5, -65504], np.float16),
    "FP32": np.array([0.1, -3e38], np.float32),
    "FP64": np.array([0.1, -1e300], np.float64),
    "BYTES": np.array(["süß".encode(), b""], np.object_),
}


@pytest.mark.parametrize("name", ALL)
def test_every_datatype_comes_back_as_it_was(name: str, types: Target) -> None:
    if name in GRPC and not types.grpc:
        pytest.skip("the server speaks no gRPC")
    with connected(name, types) as client:
        tensors = [client.input(f"in_{each.lower()}", values, each) for each, values in VALUES.items()]
        answer = infer(client, *tensors)
    for each, values in VALUES.items():
        back = answer.as_numpy(f"out_{each.lower()}")
        assert (back.dtype, back.tolist()) == (values.dtype, values.tolist())


@pytest.mark.parametrize("name", HTTP)
def test_every_datatype_but_half_precision_comes_back_as_json(name: str, types: Target) -> None:
    with connected(name, types) as client:
        tensors = [
            client.input(f"in_{each.lower()}", values, each, binary_data=each == "FP16")
            for each, values in VALUES.items()
        ]
        outputs = [client.output(f"out_{each.lower()}", binary_data=each == "FP16") for each in VALUES]
        answer = infer(client, *tensors, outputs=outputs)
    for each, values in VALUES.items():
        back = answer.as_numpy(f"out_{each.lower()}")
        text = [item.decode() for item in values] if each == "BYTES" else values.tolist()
        assert back.tolist() == (text if each == "BYTES" and isinstance(back[0], str) else values.tolist())
