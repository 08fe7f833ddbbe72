"""`inference.GRPCInferenceService`: what each call is answered with, from the same model and counted the same way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc
import msgspec
from google.protobuf.message import DecodeError
from typing_extensions import override

from quanary.server import descriptions
from quanary.server.data_plane import Answer, Headers, Refused, refusal
from quanary.server.http.head import headers_of
from quanary.server.rpc import inference_pb2 as pb
from quanary.server.rpc.codes import Context, abort
from quanary.server.rpc.question import RpcQuestion
from quanary.server.rpc.reading import Reading
from quanary.server.traffic import LOADING, Front, UserTraffic
from quanary.wire.inference import DIGEST_HEADER

SERVICE: Final = "inference.GRPCInferenceService"
# They speak of HTTP/1.1; the rest of an answer's headers are told as trailing metadata.
_HTTP_ALONE: Final = frozenset({b"content-type", b"connection"})


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The calls of the service by name. Requests come as bytes, so that what is no message gets a plain refusal.

    All are declared as streams of one message, and so it is here that they are read.
    """

    def __init__(self, front: Front, users: UserTraffic, reading: Reading) -> None:
        """Answer for the front's model."""
        self._front = front
        self._users = users
        self._reading = reading
        self._answering: set[asyncio.Task[Answer]] = set()
        self._calls = {
            "ServerLive": self._call(pb.ServerLiveRequest, lambda _: pb.ServerLiveResponse(live=True)),
            "ServerReady": self._call(
                pb.ServerReadyRequest, lambda _: pb.ServerReadyResponse(ready=self._front.is_ready)
            ),
            "ServerMetadata": self._call(
                pb.ServerMetadataRequest, lambda _: pb.ServerMetadataResponse(**_dict(descriptions.SERVER))
            ),
            "ModelReady": self._call(pb.ModelReadyRequest, self._model_ready),
            "ModelMetadata": self._call(pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": self._call(pb.ModelConfigRequest, self._model_config),
            "ModelStatistics": self._call(pb.ModelStatisticsRequest, self._model_statistics),
            "RepositoryIndex": self._call(pb.RepositoryIndexRequest, self._repository_index),
            "ModelInfer": grpc.stream_unary_rpc_method_handler(self._infer),
        }

    @override
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a call, None for those of other services."""
        service, _, call = handler_call_details.method[1:].partition("/")
        return self._calls.get(call, _UNKNOWN) if service == SERVICE else None

    def _call(self, kind: Any, answer: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
        async def handle(_: AsyncIterator[bytes], context: Context) -> bytes:
            context.set_trailing_metadata(_metadata(self._digest(())))
            message = await self._reading.read_as(kind, context)
            if isinstance(message, Answer):
                await abort(context, message)
            try:
                return bytes(answer(message).SerializeToString())
            except Refused as refused:
                await abort(context, refused.answer)

        return grpc.stream_unary_rpc_method_handler(handle)

    def _require_model(self, name: str, version: str) -> None:
        if unknown := descriptions.unknown_model(name, version, self._front.name):
            raise Refused(refusal(404, unknown))

    def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        self._require_model(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._front.is_ready)

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        self._require_model(request.name, request.version)
        if self._front.plane is None:
            raise Refused(refusal(503, LOADING))
        return pb.ModelMetadataResponse(**_dict(self._front.plane.metadata()))

    def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        self._require_model(request.name, request.version)
        if self._front.plane is None:
            raise Refused(refusal(503, LOADING))
        config = descriptions.config(self._front.name, self._front.plane.signature)
        return pb.ModelConfigResponse(config=_dict(config))

    def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        if request.name:
            self._require_model(request.name, request.version)
        return pb.ModelStatisticsResponse(**_dict(descriptions.statistics(self._front.name, self._front.statistics)))

    def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        front = self._front
        models = descriptions.index(
            front.name, is_ready=front.is_ready, is_draining=front.is_draining, only_ready=request.ready
        )
        return pb.RepositoryIndexResponse(models=[_dict(each) for each in models])

    async def _infer(self, _: AsyncIterator[bytes], context: Context) -> bytes:
        headers = _headers(context)
        # A client that goes away changes nothing in what is counted: over HTTP it does not either.
        task = asyncio.create_task(self._answer(await self._reading.read(context), headers))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        answer = await asyncio.shield(task)
        context.set_trailing_metadata(_metadata(self._digest(answer.headers)))
        asyncio.get_running_loop().call_soon(self._users.after, answer)
        return answer.body if answer.status == 200 else await abort(context, answer)

    async def _answer(self, content: bytes | Answer, headers: dict[bytes, bytes]) -> Answer:
        if isinstance(content, Answer):
            return self._users.refuse(content, headers)
        with self._front.bodies.hold() as body:
            try:
                body.take(content)
                message = pb.ModelInferRequest.FromString(content)
            except Refused as refused:
                return self._users.refuse(refused.answer, headers)
            except DecodeError:
                return self._users.refuse(refusal(400, "the message is no inference.ModelInferRequest"), headers)
            if unknown := descriptions.unknown_model(message.model_name, message.model_version, self._front.name):
                return refusal(404, unknown)
            return await self._users.ask(RpcQuestion(message), headers)

    def _digest(self, headers: Headers) -> Headers:
        """With whose answer it is, unless another's is named already."""
        name = DIGEST_HEADER.encode()
        is_named = any(key == name for key, _ in headers)
        return headers if is_named else (*headers, (name, self._front.digest.encode()))


async def _refuse_unknown(_: AsyncIterator[bytes], context: Context) -> None:
    await abort(context, refusal(501, f"not spoken here; allowed: the calls of {SERVICE} but streams and loading"))


_UNKNOWN: Final = grpc.stream_stream_rpc_method_handler(_refuse_unknown)


def _dict(described: msgspec.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(described)
    return plain


def _headers(context: Context) -> dict[bytes, bytes]:
    return headers_of([(_bytes(name), _bytes(value)) for name, value in context.invocation_metadata() or ()])


def _metadata(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode("latin-1")) for name, value in headers if name not in _HTTP_ALONE)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
