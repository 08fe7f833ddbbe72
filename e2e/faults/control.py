"""The switch's own port: GET /fault, PUT /fault."""

import json
import threading
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Final

from typing_extensions import override

from e2e.faults.fault import Switch, read_fault

PORT: Final = 9900
LIMIT_BYTES: Final = 4096


def start(switch: Switch, host: str, port: int = PORT) -> ThreadingHTTPServer:
    """Listen in a thread of its own, so that a fault cannot silence the switch."""
    server = ThreadingHTTPServer((host, port), handler_for(switch))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="fault-switch", daemon=True).start()
    return server


def read_body(headers: Message, stream: BufferedIOBase) -> bytes:
    """A small body, whole or in chunks: the API server's proxy sends chunks.

    Raises:
        ValueError: it is longer than `LIMIT_BYTES`, or a length is no number.
    """
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return stream.read(_checked(int(headers.get("content-length", "0"))))
    body = b""
    while size := _checked(int(stream.readline(LIMIT_BYTES).split(b";")[0], 16)):
        body += stream.read(size)
        stream.readline(LIMIT_BYTES)
        _checked(len(body))
    stream.readline(LIMIT_BYTES)
    return body


def _checked(length: int) -> int:
    if not 0 <= length <= LIMIT_BYTES:
        raise ValueError(f"a body of {length} bytes; allowed: {LIMIT_BYTES}")
    return length


def handler_for(switch: Switch) -> type[BaseHTTPRequestHandler]:
    """A request handler bound to one switch."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK if self.path == "/fault" else HTTPStatus.NOT_FOUND)

        def do_PUT(self) -> None:
            if self.path != "/fault":
                self._answer(HTTPStatus.NOT_FOUND)
                return
            try:
                switch.turn(read_fault(read_body(self.headers, self.rfile)))
            except ValueError as error:
                self.close_connection = True
                self._answer(HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._answer(HTTPStatus.OK)

        def _answer(self, status: HTTPStatus, error: str = "") -> None:
            refusal = error or status.phrase
            body = json.dumps(switch.describe() if status is HTTPStatus.OK else {"error": refusal}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the server has a log of its own."""

    return Handler
