"""A plain gRPC client: bytes or messages in, messages or codes out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from quanary.server.rpc import inference_pb2 as pb
from tests.server.running import Running

SERVICE = "/inference.GRPCInferenceService"


def request(features: list[float], **more: Any) -> pb.ModelInferRequest:
    """For the classifier of `models`."""
    contents = pb.InferTensorContents(fp32_contents=features)
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 4], contents=contents)
    return pb.ModelInferRequest(**{"model_name": "m", "inputs": [tensor], **more})


class Caller:
    """One channel."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])

    async def send(self, call: str, content: bytes, **more: Any) -> bytes:
        answer: bytes = await self.channel.unary_unary(f"{SERVICE}/{call}")(content, wait_for_ready=True, **more)
        return answer

    async def infer(self, message: pb.ModelInferRequest, **more: Any) -> pb.ModelInferResponse:
        content = await self.send("ModelInfer", message.SerializeToString(), **more)
        answer: pb.ModelInferResponse = pb.ModelInferResponse.FromString(content)
        return answer

    async def refused(self, message: pb.ModelInferRequest | bytes, call: str = "ModelInfer", **more: Any) -> Any:
        """The error of a call that must fail."""
        content = message if isinstance(message, bytes) else message.SerializeToString()
        try:
            await self.send(call, content, **more)
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("it was answered")


@asynccontextmanager
async def calling(server: Running) -> AsyncIterator[Caller]:
    caller = Caller(f"127.0.0.1:{server.arguments.grpc_port}")
    try:
        yield caller
    finally:
        await caller.channel.close()
