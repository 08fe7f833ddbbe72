"""Refusals as gRPC says them."""

from typing import Final, NoReturn, TypeAlias

import grpc
import msgspec

from quanary.server.data_plane import Answer
from quanary.wire.inference import ErrorMessage

Context: TypeAlias = grpc.aio.ServicerContext

_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


async def abort(context: Context, answer: Answer) -> NoReturn:
    """End the call with the code and the words of a refusal."""
    await context.abort(_CODES[answer.status], msgspec.json.decode(answer.body, type=ErrorMessage).error)
    raise AssertionError("abort raises")
