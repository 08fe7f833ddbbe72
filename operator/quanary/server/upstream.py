"""A server of the Open Inference Protocol that runs the model behind this one: Triton, or any other.

Requests are checked here and passed on in binary; answers are read back whole. So counts, comparison and escalation
are the same as for a model in this process.
"""

import asyncio
import contextlib
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
import numpy as np
import structlog

from quanary.server.client import Broken, Response, Unreachable
from quanary.server.engine import Execution, Overloaded
from quanary.server.engine.room import Room
from quanary.server.messages import Signature, read_response, write_request
from quanary.server.pool import Pool
from quanary.server.session import UnservableModel
from quanary.server.tensors import DTYPES, Malformed, Tensors
from quanary.server.traffic import Front
from quanary.wire.inference import ELEMENT_BYTES, HEADER_LENGTH, ErrorMessage, TensorMetadata

# Enough for two batches: one in the model, one that waits for it. More would only wait in the other server's queue.
CONNECTIONS: Final = 16
WATCH_SECONDS: Final = 1.0
# A busy server answers late; one that refuses the connection is gone at once.
STATE_SECONDS: Final = 3.0
SAY_SECONDS: Final = 30.0

_NO_PLACE: Final = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
)
_log = structlog.get_logger(__name__)


class Absent(Overloaded):
    """Nobody is there to run the model now."""


class _Described(msgspec.Struct):
    """What is read of a model's metadata."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class Upstream:
    """The other server and its model."""

    def __init__(self, url: str, name: str, connections: int = CONNECTIONS) -> None:
        """Ask for the model `name` at `http://HOST:PORT`, over so many `connections` at a time."""
        self.url = url
        self.path = f"/v2/models/{quote(name, safe='')}"
        self._ready_paths = ("/v2/health/ready", f"{self.path}/ready")
        self.inferences = Pool(url, connections)
        # Questions about its state never wait behind inferences.
        self._states = Pool(url, limit=1)

    def close(self) -> None:
        """End the connections that nobody uses now."""
        self.inferences.close()
        self._states.close()

    async def wait_until_ready(self) -> Signature:
        """What the model takes and gives, as soon as it is ready.

        Raises:
            UnservableModel: its metadata are none that can be served.
        """
        said = time.monotonic()
        while not await self.is_ready():
            if time.monotonic() > said + SAY_SECONDS:
                said = time.monotonic()
                _log.info("waiting for the model's server", url=self.url, path=self.path)
            await asyncio.sleep(WATCH_SECONDS)
        return await self.read_signature()

    async def is_ready(self) -> bool:
        """Whether it would answer inferences: on its way out its model is ready, but no longer the server."""
        try:
            return all([(await self._read(path)).status == HTTPStatus.OK for path in self._ready_paths])
        except (Unreachable, Broken, TimeoutError):
            return False

    async def read_signature(self) -> Signature:
        """What the model takes and gives, by the other server's word.

        Raises:
            UnservableModel: its metadata are none that can be served.
        """
        try:
            response = await self._read(self.path)
        except (Unreachable, Broken, TimeoutError) as error:
            message = f"metadata of {self.path} at {self.url}: {str(error) or 'no answer in time'}"
            raise UnservableModel(message) from error
        if response.status != HTTPStatus.OK:
            message = f"metadata of {self.path} at {self.url}: found status {response.status}; allowed: 200"
            raise UnservableModel(message)
        return _signature(response.body)

    async def watch(self, front: Front, signature: Signature) -> None:
        """Take the model away from `front` while the other server is not ready, and give it back: for ever."""
        plane = front.plane
        with contextlib.closing(self):
            while True:
                await asyncio.sleep(WATCH_SECONDS)
                is_ready = await self.is_ready() and (front.plane is not None or await self._is_same(signature))
                if is_ready != (front.plane is not None):
                    _log.warning("the model's server changed", is_ready=is_ready, url=self.url)
                    front.plane = plane if is_ready else None

    async def _is_same(self, signature: Signature) -> bool:
        """After a restart it must still serve what requests are checked against."""
        try:
            found = await self.read_signature()
        except UnservableModel as error:
            _log.warning("the model's server is not as it was", reason=str(error))
            return False
        if found != signature:
            _log.error("the model's server has another model now", found=found, wanted=signature)
        return found == signature

    async def _read(self, path: str) -> Response:
        async with asyncio.timeout(STATE_SECONDS):
            return await self._states.ask("GET", path)


def _signature(body: bytes) -> Signature:
    try:
        described = msgspec.json.decode(body, type=_Described)
    except msgspec.MsgspecError as error:
        message = f"metadata of the model's server: {error}"
        raise UnservableModel(message) from error
    for each in (*described.inputs, *described.outputs):
        if each.datatype not in ELEMENT_BYTES:
            message = f"tensor {each.name!r}: found {each.datatype}; allowed: {', '.join(ELEMENT_BYTES)}"
            raise UnservableModel(message)
    if not described.inputs or not described.outputs:
        raise UnservableModel("metadata of the model's server: found no inputs or no outputs; allowed: some of both")
    return Signature(described.inputs, described.outputs)


class UpstreamEngine:
    """Inference by the other server."""

    def __init__(self, upstream: Upstream, signature: Signature, room: Room) -> None:
        """Pass on what `signature` declares; `room` holds those that wait."""
        self._path = f"{upstream.path}/infer"
        self._signature = signature
        self._pool = upstream.inferences
        self._room = room

    async def infer(self, inputs: Tensors) -> Execution:
        """Ask the other server. The time is from sending to the whole answer: its own queue and batching are in it.

        Raises:
            Overloaded: too many wait already, or it has no place for more, or is not there.
            Malformed: it refuses the request; the text is its own.
        """
        self._room.enter()
        try:
            async with self._pool.place():
                return await self._ask(inputs)
        finally:
            self._room.leave(1)

    async def _ask(self, inputs: Tensors) -> Execution:
        parts = write_request(inputs, None, self._signature)
        headers = f"content-type: application/octet-stream\r\n{HEADER_LENGTH}: {len(parts[0])}\r\n"
        started = time.perf_counter()
        try:
            response = await self._pool.ask("POST", self._path, headers, parts)
        except Unreachable as error:
            message = f"the model's server is not there: {error}"
            raise Absent(message) from error
        except Broken as error:
            message = f"the model's server gave no answer: {error}"
            raise RuntimeError(message) from error
        seconds = time.perf_counter() - started
        if response.status != HTTPStatus.OK:
            raise _failure(response)
        return Execution(self._read(response), seconds)

    def _read(self, response: Response) -> dict[str, np.ndarray]:
        head = response.headers.get(HEADER_LENGTH)
        try:
            found = read_response(response.body, None if head is None else head.encode())
        except Malformed as error:
            # It is not the asker who broke the protocol.
            message = f"the model's server answered what is no answer: {error}"
            raise RuntimeError(message) from error
        for each in self._signature.outputs:
            if each.name not in found or found[each.name].dtype != DTYPES[each.datatype]:
                message = f"the model's server answered without the output {each.name!r} of {each.datatype}"
                raise RuntimeError(message)
        return {each.name: found[each.name] for each in self._signature.outputs}


def _failure(response: Response) -> Exception:
    try:
        text = msgspec.json.decode(response.body, type=ErrorMessage).error
    except msgspec.MsgspecError:
        text = response.body[:200].decode(errors="replace")
    if response.status in _NO_PLACE:
        return Absent(f"the model's server, {response.status}: {text}")
    if HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Malformed(text)
    return RuntimeError(f"the model's server, {response.status}: {text}")
