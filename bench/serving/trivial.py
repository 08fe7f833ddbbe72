"""A server that always gives the same answer, to measure what stands before it: python -m bench.serving.trivial PORT"""

import asyncio
import json
import sys
from typing import Any, Final

import httptools
import numpy as np
import uvloop
from typing_extensions import override

# The model mlp's.
METADATA: Final = {
    "name": "m",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 10]}],
}


def _answer(body: bytes, *headers: str) -> bytes:
    lines = ("HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


def _inference() -> bytes:
    blob = np.zeros(10, np.float32).tobytes()
    output = {"name": "y", "datatype": "FP32", "shape": [1, 10], "parameters": {"binary_data_size": len(blob)}}
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    return _answer(head + blob, f"Inference-Header-Content-Length: {len(head)}")


STATES: Final = _answer(json.dumps(METADATA).encode())
INFERENCE: Final = _inference()


class Trivial(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        """Of HTTP requests."""
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """What is asked for."""
        self._path = url

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(INFERENCE if self._path.endswith(b"/infer") else STATES)


async def serve(port: int) -> None:
    """For ever."""
    server = await asyncio.get_running_loop().create_server(Trivial, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
