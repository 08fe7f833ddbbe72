"""A closed loop of some connections against one server, in a process of its own so that its CPU time is not counted.

python -m bench.serving.client PORT CONNECTIONS SECONDS REQUEST     REQUEST: a file, sent as it is; prints JSON
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop
from typing_extensions import override

LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d+)")


class Connection(asyncio.Protocol):
    """Sends the next request as soon as it has the answer to the last."""

    def __init__(self, request: bytes, end: float) -> None:
        """Send `request` until `end`."""
        self.ended = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.failed = 0
        self._request = request
        self._end = end
        self._answer = bytearray()
        self._sent = 0.0

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    @override
    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(b"\r\n\r\n")
        length = LENGTH.search(self._answer, 0, head) if head >= 0 else None
        if length is None or len(self._answer) < head + 4 + int(length[1]):
            return
        self.latencies.append(time.perf_counter() - self._sent)
        status = STATUS.match(self._answer)
        self.failed += status is None or status[1] != b"200"
        self._answer.clear()
        if time.perf_counter() < self._end:
            self._send()
        else:
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if exc or time.perf_counter() < self._end:
            self.failed += 1
        self.ended.set_result(None)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)


async def load(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    """Numbers of answers and failures, and latencies in seconds."""
    end = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(request, end), "127.0.0.1", port) for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in made]
    await asyncio.gather(*(protocol.ended for protocol in protocols))
    latencies = sorted(latency for protocol in protocols for latency in protocol.latencies)
    return {
        "answers": len(latencies),
        "failed": sum(protocol.failed for protocol in protocols),
        "p50": latencies[len(latencies) // 2] if latencies else 0.0,
        "p99": latencies[len(latencies) * 99 // 100] if latencies else 0.0,
    }


if __name__ == "__main__":
    _, port, connections, seconds, path = sys.argv
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(load(int(port), int(connections), float(seconds), Path(path).read_bytes()))))
