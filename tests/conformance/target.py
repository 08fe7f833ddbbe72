"""The server that is looked at: one given by the environment, or our own as a process."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.server.running import free_port

PREFIX: Final = "QUANARY_CONFORMANCE_"
START_SECONDS: Final = 120


@dataclass(frozen=True)
class Target:
    """One model on one server."""

    url: str
    grpc: str  # HOST:PORT, or nothing
    model: str

    @property
    def address(self) -> str:
        """HOST:PORT of the URL, as tritonclient wants it."""
        return self.url.removeprefix("http://")


def server_name() -> str:
    return os.environ.get(f"{PREFIX}SERVER", "quanary")


def given(model: str, environment: Mapping[str, str] = os.environ) -> Target | None:
    """What the environment says of `classifier` or `types`; None: nothing, our own is to be started."""
    values = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
    if "URL" not in values:
        return None
    if model == "classifier":
        return Target(values["URL"], values.get("GRPC", ""), values.get("MODEL", model))
    url, grpc = values.get("TYPES_URL", values["URL"]), values.get("TYPES_GRPC", values.get("GRPC", ""))
    return Target(url, grpc, values.get("TYPES_MODEL", ""))


@contextmanager
def started(path: Path, name: str, log: Path) -> Iterator[Target]:
    """Our own server of one model, as a process."""
    http, grpc, metrics = free_port(), free_port(), free_port()
    words = [str(path), f"--name={name}", f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    with log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "quanary", "serve", *words],
            stdout=lines,
            stderr=lines,
            env={**os.environ, "PYTHONPATH": "operator"},
        )
    target = Target(f"http://127.0.0.1:{http}", f"127.0.0.1:{grpc}", name)
    try:
        _wait_until_ready(target, process, log)
        yield target
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(target: Target, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{target.url}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError(log.read_text())
