"""`grpc.health.v1.Health`: the standard servicer, its requests read like all others."""

from collections.abc import AsyncIterator
from typing import Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from quanary.server.data_plane import Answer, refusal
from quanary.server.rpc.codes import Context, abort
from quanary.server.rpc.reading import Reading

SERVICE: Final = "grpc.health.v1.Health"
# Each stays as long as its client likes.
WATCHERS_LIMIT: Final = 64


def health_handler(servicer: health.HealthServicer, reading: Reading) -> grpc.GenericRpcHandler:
    """The calls that `servicer` answers."""

    async def check(_: AsyncIterator[bytes], context: Context) -> health_pb2.HealthCheckResponse:
        return await servicer.Check(await _request(reading, context), context)

    watchers: set[Context] = set()

    async def watch(_: AsyncIterator[bytes], context: Context) -> None:
        if len(watchers) >= WATCHERS_LIMIT:
            await abort(context, refusal(503, f"{WATCHERS_LIMIT} watch already"))
        watchers.add(context)
        try:
            await servicer.Watch(await _request(reading, context), context)
        finally:
            watchers.discard(context)

    write = health_pb2.HealthCheckResponse.SerializeToString
    calls = {
        "Check": grpc.stream_unary_rpc_method_handler(check, response_serializer=write),
        "Watch": grpc.stream_stream_rpc_method_handler(watch, response_serializer=write),
    }
    return grpc.method_handlers_generic_handler(SERVICE, calls)


async def _request(reading: Reading, context: Context) -> health_pb2.HealthCheckRequest:
    request = await reading.read_as(health_pb2.HealthCheckRequest, context)
    return await abort(context, request) if isinstance(request, Answer) else request
