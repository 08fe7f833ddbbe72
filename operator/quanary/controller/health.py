"""Liveness and readiness, answered from a thread: a loop that hangs must not be the one to say that it is fine."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from typing_extensions import override

BEAT_SECONDS: Final = 1.0
LONGEST_LAG_SECONDS: Final = 15.0
LONGEST_RUN_SECONDS: Final = 120.0

# Returns what is wrong, or an empty string.
Check = Callable[[], str]


class Heart:
    """Beats on the event loop; its age, read from a thread, is how long the loop has been stuck."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    async def beat(self) -> None:
        """Beat until cancelled."""
        while True:
            self._at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)

    def check(self) -> str:
        """Whether the loop turns."""
        lag = time.monotonic() - self._at
        return f"event loop stuck for {lag:.0f} s" if lag > LONGEST_LAG_SECONDS else ""


def at_most(name: str, seconds: Callable[[], float], limit: float) -> Check:
    """A check that a duration stays within its limit."""

    def check() -> str:
        value = seconds()
        return f"{name}: {value:.0f} s; allowed: {limit:.0f} s" if value > limit else ""

    return check


@contextmanager
def serve_health(port: int, live: Mapping[str, Check], ready: Mapping[str, Check], host: str = "") -> Iterator[int]:
    """Answer /healthz and /readyz with 200 or, naming what is wrong, 503; yields the port (for port 0)."""
    pages = {"/healthz": live, "/readyz": {**live, **ready}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            checks = pages.get(self.path)
            wrong = [f"{name}: {text}" for name, check in (checks or {}).items() if (text := check())]
            self.send_response(404 if checks is None else 503 if wrong else 200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(("\n".join(wrong) or "ok").encode())

        @override
        def log_message(self, format: str, *args: object) -> None:
            """The kubelet asks every few seconds; nobody wants to read that."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
