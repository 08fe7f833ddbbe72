"""Real servers on loopback: an OCI registry and a web server that misbehaves where asked."""

import http.server
import socket
import subprocess
import threading
import time
import urllib.error
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
        _wait_for(f"http://{host}/v2/", process)
        yield host
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "the registry ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:
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
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
