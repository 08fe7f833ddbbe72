"""Everything KServe's client can ask of one model, as JSON on stdout; run by its own interpreter.

python kserve_client.py URL GRPC MODEL
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)


def request(model: str, *, is_binary: bool) -> InferRequest:
    tensor = InferInput("x", list(ROWS.shape), "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=is_binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="q7")


def only_total(model: str) -> InferRequest:
    wanted = request(model, is_binary=True)
    wanted.request_outputs = [RequestedOutput("total", {"binary_data": True})]
    return wanted


def answered(answer: InferResponse) -> dict[str, Any]:
    values = {each.name: each.as_numpy().tolist() for each in answer.outputs}
    return {"id": answer.id, "model": answer.model_name, "outputs": values}


async def outcome(call: Any) -> Any:
    """A result, or what went wrong: a check of the suite decides."""
    try:
        result = await call
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"}
    return answered(result) if isinstance(result, InferResponse) else result


async def over_rest(url: str, model: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    return {
        "live": await outcome(client.is_server_live(url)),
        "ready": await outcome(client.is_server_ready(url)),
        "model ready": await outcome(client.is_model_ready(url, model)),
        "json": await outcome(client.infer(url, request(model, is_binary=False), model_name=model)),
        "binary": await outcome(client.infer(url, request(model, is_binary=True), model_name=model)),
        "one output": await outcome(client.infer(url, only_total(model), model_name=model)),
        "unknown model": await outcome(client.infer(url, request("nobody", is_binary=False), model_name="nobody")),
    }


async def over_grpc(address: str, model: str) -> dict[str, Any]:
    async with InferenceGRPCClient(address) as client:
        return {
            "live": await outcome(client.is_server_live()),
            "ready": await outcome(client.is_server_ready()),
            "model ready": await outcome(client.is_model_ready(model)),
            "typed": await outcome(client.infer(request(model, is_binary=False))),
            "raw": await outcome(client.infer(request(model, is_binary=True))),
            "one output": await outcome(client.infer(only_total(model))),
            "unknown model": await outcome(client.infer(request("nobody", is_binary=False))),
        }


async def main() -> None:
    url, address, model = sys.argv[1:]
    results = {"rest": await over_rest(url, model)}
    if address:
        results["grpc"] = await over_grpc(address, model)
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main())
