"""An inference as HTTP carries it."""

from collections.abc import Mapping
from typing import Final

import msgspec

from quanary.server.data_plane import JSON, Headers
from quanary.server.messages import Request, Signature, read_request, write_response
from quanary.server.tensors import Tensors
from quanary.wire.inference import HEADER_LENGTH

BINARY: Final = (b"content-type", b"application/octet-stream")
_JSON_ALONE: Final = (JSON,)
_HEADER_LENGTH: Final = HEADER_LENGTH.encode()


class HttpQuestion(msgspec.Struct, frozen=True):
    """A body and its `Inference-Header-Content-Length`, if any."""

    body: bytes
    header_length: bytes | None

    @classmethod
    def of(cls, body: bytes, headers: Mapping[bytes, bytes]) -> "HttpQuestion":
        """What a request asks by its body and its headers."""
        return cls(body, headers.get(_HEADER_LENGTH))

    def read(self, signature: Signature) -> Request:
        """What is asked."""
        return read_request(self.body, self.header_length, signature)

    def write(self, name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, Headers]:
        """The body and the headers of an answer."""
        body, head = write_response(name, request, outputs, signature)
        return body, _JSON_ALONE if head is None else (BINARY, (_HEADER_LENGTH, b"%d" % head))
