"""Evidence out of a real Prometheus that scrapes real endpoints every second."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml
from typing_extensions import override

from quanary.api.v1alpha1 import Gates
from quanary.controller.decision import ModelKey
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Prometheus, Subject, Telemetry
from quanary.controller.telemetry.series import counters_query, p99_query
from quanary.wire.metrics import COMPARED, ERRORS, MISMATCHED, REQUESTS

pytestmark = pytest.mark.cluster

FLOAT, INT8 = "f" * 64, "a" * 64
KEY = ModelKey("shop", "classifier")
A_SCRAPE = 7  # requests that each scrape finds more
PATIENCE_SECONDS = 60.0


@dataclass
class Exporter:
    """A pod's `/gates`: every scrape finds `A_SCRAPE` more requests and comparisons, a part of them bad."""

    bad: int
    twin: str
    scrapes: int = 0
    address: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def text(self) -> str:
        with self.lock:
            self.scrapes += 1
            good, bad = self.scrapes * A_SCRAPE, self.scrapes * self.bad
        lines = [f"{REQUESTS} {good}", f"{ERRORS} {bad}"]
        lines += [f'{COMPARED}{{twin="{self.twin[:10]}"}} {good}', f'{MISMATCHED}{{twin="{self.twin[:10]}"}} 0']
        lines += [f'{MISMATCHED}{{twin="cccccccccc"}} {good}']
        return "".join(f"{line}\n" for line in lines)


@pytest.fixture
def exporters() -> Iterator[dict[str, Exporter]]:
    """One pod of each variant; half of what INT8 answers fails."""
    found = {"float": Exporter(0, INT8), "int8": Exporter(4, FLOAT)}
    servers = [_serve(exporter) for exporter in found.values()]
    yield found
    for server in servers:
        server.shutdown()
        server.server_close()


def _serve(exporter: Exporter) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exporter.address = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def url(exporters: dict[str, Exporter], tmp_path: Path) -> Iterator[str]:
    """A Prometheus of its own, that labels targets as the cluster's does."""
    labels = {"namespace": KEY.namespace, "quanary_model": KEY.name}
    targets = [
        {
            "targets": [exporter.address],
            "labels": {
                **labels,
                "pod": f"{variant}-0",
                "quanary_variant": variant,
                "quanary_digest": (FLOAT if variant == "float" else INT8)[:10],
            },
        }
        for variant, exporter in exporters.items()
    ]
    scrape = {"job_name": "quanary-gates", "metrics_path": "/gates", "scrape_interval": "1s", "scrape_timeout": "1s"}
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [{**scrape, "static_configs": targets}]}))
    url = f"http://127.0.0.1:{_free_port()}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                _binary(),
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(url, process, tmp_path / "log")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _binary() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    found = shutil.which("prometheus", path=f"{cache / 'quanary' / 'bin'}:{os.environ['PATH']}")
    assert found, "no prometheus binary: make cluster-build builds one"
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(f"{url}/-/ready", timeout=1).ok:
                return
        except requests.ConnectionError:
            pass
        threading.Event().wait(0.1)
    pytest.fail(f"not ready: {log.read_text()}")


async def test_errors_retreat_and_condemn_by_exact_counts(url: str, exporters: dict[str, Exporter]) -> None:
    with closing(Prometheus(url)) as client:
        telemetry = Telemetry(client, Settings())
        subject = Subject(KEY, "uid-1", FLOAT, INT8, Gates(), mismatch=0.02, steps=5, step=1, since=datetime.now(UTC))
        telemetry.track(subject, datetime.now(UTC))
        deadline = time.monotonic() + PATIENCE_SECONDS
        evidence, woken = None, False
        while time.monotonic() < deadline:
            woken = KEY in await telemetry.tick(datetime.now(UTC)) or woken
            evidence = telemetry.reading(KEY)
            if evidence and evidence.retreat_by and evidence.condemned_by:
                break
            await asyncio.sleep(0.5)
    assert woken
    assert evidence is not None
    assert (evidence.retreat_by, evidence.condemned_by) == ("errors", "errors")
    assert not any((evidence.float_silent, evidence.int8_silent, evidence.prometheus_gone))
    gates = {gate.name: gate for gate in evidence.gates}
    assert gates["errors"].samples % A_SCRAPE == 0
    assert gates["errors"].bad == gates["errors"].samples * 4 // A_SCRAPE
    # Both directions; the comparisons with a third model are left out.
    assert gates["mismatch"].samples > gates["errors"].samples
    assert gates["mismatch"].bad == 0
    assert exporters["int8"].scrapes * A_SCRAPE >= gates["errors"].samples > 0


def test_the_queries_are_what_prometheus_understands(url: str) -> None:
    strange = ModelKey("n", 'x"} or vector(1) #\\.é')
    with closing(Prometheus(url)) as client:
        assert client.query(counters_query([strange], 5), time.time()) == []
        assert client.query(p99_query([strange]), time.time()) == []
