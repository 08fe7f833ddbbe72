"""Real servers on loopback: an OCI registry and web servers and a line that misbehave where asked."""

import http.server
import select
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

from e2e.cluster import paths

REGISTRY = paths.BIN / "docker-registry"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _in_a_thread(server: socketserver.BaseServer) -> Iterator[None]:
    """Serves until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """`127.0.0.1:port` of a registry that keeps its blobs in `folder`."""
    assert REGISTRY.is_file(), f"{REGISTRY} is missing: make cluster-build brings it"
    host = f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'blobs'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: {host}}}\n"
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([REGISTRY, "serve", config], stdout=log, stderr=log)
    try:
        wait_for(f"http://{host}/v2/", process)
        yield host
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Until the server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(url)


class Pages(http.server.BaseHTTPRequestHandler):
    """`/file`: the content. `/away`: a redirect to another host. `/again`: one to `/file`. `/busy`: 500. Else 404."""

    content = b""
    elsewhere = ""

    def do_GET(self) -> None:
        status = {"/file": 200, "/away": 302, "/again": 302, "/busy": 500}.get(self.path, 404)
        self.send_response(status)
        body = self.content if status == 200 else b""
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", self.elsewhere if self.path == "/away" else "/file")
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextmanager
def web_server(content: bytes, elsewhere: str = "") -> Iterator[str]:
    """`127.0.0.1:port` of a server of `Pages`."""
    handler = type("Handler", (Pages,), {"content": content, "elsewhere": elsewhere})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, _in_a_thread(server):
        yield f"127.0.0.1:{server.server_port}"


@contextmanager
def cutting_relay(host: str, after_bytes: int) -> Iterator[str]:
    """`127.0.0.1:port` of a line to `host` that is cut for good once so many bytes have come back."""
    left = after_bytes

    class Line(socketserver.BaseRequestHandler):
        @override
        def handle(self) -> None:
            nonlocal left
            name, _, port = host.partition(":")
            with socket.create_connection((name, int(port))) as behind:
                while left > 0:
                    ready, _, _ = select.select([self.request, behind], [], [], 0.1)
                    if self.request in ready:
                        if not (request := self.request.recv(65536)):
                            return
                        behind.sendall(request)
                    if behind in ready:
                        if not (answer := behind.recv(min(65536, left))):
                            return
                        left -= len(answer)
                        self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Line) as server, _in_a_thread(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def registry_of(manifest: bytes, blob: bytes) -> Iterator[str]:
    """`127.0.0.1:port` of a registry that answers every request for a manifest, or a blob, with these."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = manifest if "/manifests/" in self.path else blob
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, _in_a_thread(server):
        yield f"127.0.0.1:{server.server_port}"


@contextmanager
def recorder(status: int, location: str = "") -> Iterator[tuple[str, list[str]]]:
    """`127.0.0.1:port` of a web server, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, _in_a_thread(server):
        yield f"127.0.0.1:{server.server_port}", asked
