"""Questions of users to float, over its twin port: several at once, each answered by a deadline or not at all."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from quanary.server.ask import TwinConnection
from quanary.server.client import Broken, Response, Unreachable
from quanary.server.comparison.twin import CONNECTION_SECONDS, is_digest
from quanary.server.messages import Signature, read_response, write_request
from quanary.server.tensors import DTYPES, Malformed, Tensors
from quanary.wire.inference import DIGEST_HEADER, ESCALATION_HEADER, HEADER_LENGTH

ASKED_LIMIT: Final = 32


class NotAnswered(Exception):  # noqa: N818
    """Float gave no answer; `reason` is one word of few."""

    def __init__(self, reason: str) -> None:
        """Carry the reason."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class FloatAnswer:
    """All outputs, and the short digest of the model that gave them."""

    outputs: Tensors
    digest: str


class FloatLane:
    """A few connections, each kept for a short time."""

    def __init__(self, url: str, name: str, digest: str, signature: Signature, cause: str) -> None:
        """Ask at `http://HOST:PORT` for the model `name`, for one of the causes that the wire knows.

        An answer by `digest`, which is one's own, is none of float.
        """
        self._url = url
        self._cause = cause
        self._path = f"/v2/models/{quote(name, safe='')}/infer"
        self._digest = digest
        self._signature = signature
        self._asked = 0
        self._idle: list[TwinConnection] = []

    async def ask(self, inputs: Tensors, until: float) -> FloatAnswer:
        """Float's answer by `until`, in the event loop's time.

        Raises:
            NotAnswered: too many ask already (busy), nobody is there (absent), it refused (overloaded), it took too
                long (late), or what came is no answer of float to this model's question (failed).
        """
        if self._asked >= ASKED_LIMIT:
            raise NotAnswered("busy")
        self._asked += 1
        try:
            async with asyncio.timeout_at(until):
                answer = await self._post(inputs)
        except TimeoutError:
            raise NotAnswered("late") from None
        except Unreachable:
            raise NotAnswered("absent") from None
        except Broken:
            raise NotAnswered("failed") from None
        finally:
            self._asked -= 1
        return self._read(answer)

    async def _post(self, inputs: Tensors) -> Response:
        parts = write_request(inputs, None, self._signature)
        headers = f"{HEADER_LENGTH}: {len(parts[0])}\r\n{ESCALATION_HEADER}: {self._cause}\r\n"
        if self._idle:
            # A connection that was kept may have been ended by a pod that is gone: only a new one tells.
            with contextlib.suppress(Unreachable, Broken):
                return await self._post_over(self._idle.pop(), headers, parts)
        return await self._post_over(TwinConnection(self._url, CONNECTION_SECONDS), headers, parts)

    async def _post_over(self, connection: TwinConnection, headers: str, parts: Sequence[bytes]) -> Response:
        answer = await connection.ask("POST", self._path, headers, parts)
        self._idle.append(connection)
        return answer

    def _read(self, answer: Response) -> FloatAnswer:
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise NotAnswered("overloaded")
        digest = answer.headers.get(DIGEST_HEADER, "")
        if answer.status != HTTPStatus.OK or not is_digest(digest) or digest == self._digest:
            raise NotAnswered("failed")
        head = answer.headers.get(HEADER_LENGTH)
        try:
            outputs = read_response(answer.body, None if head is None else head.encode())
        except Malformed:
            raise NotAnswered("failed") from None
        if not self._fits(outputs):
            raise NotAnswered("failed")
        return FloatAnswer({each.name: outputs[each.name] for each in self._signature.outputs}, digest)

    def _fits(self, outputs: Tensors) -> bool:
        """Whether they are what this model gives: only then are they an answer to its users."""
        return all(
            each.name in outputs
            and outputs[each.name].dtype == DTYPES[each.datatype]
            and len(outputs[each.name].shape) == len(each.shape)
            for each in self._signature.outputs
        )
