"""The servers that are measured, each with one model on one thread behind a loopback port."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.serving.models import Case
from e2e.environment import python_of

PEERS: Final = Path(__file__).parent / "peers"
START_SECONDS: Final = 60
TYPES: Final = {"f": "TYPE_FP32", "i": "TYPE_INT64"}

# A command and its working folder, for a case, a port, and a folder to write to.
Start = Callable[[Case, int, Path], list[str | Path]]


@dataclass(frozen=True)
class Running:
    """A server that is ready."""

    name: str
    port: int
    pid: int


@contextmanager
def running(name: str, case: Case, folder: Path, on_core: Sequence[str]) -> Iterator[Running]:
    """The server `name` until the end; `on_core` are words before its command."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    python = Path(sys.executable) if name == "quanary" else peer_python(name)
    with started(name, [*on_core, *STARTS[name](case, port, folder)], port, folder, python) as server:
        yield server


@contextmanager
def started(name: str, command: Sequence[str | Path], port: int, folder: Path, python: Path) -> Iterator[Running]:
    """What `command` starts, with the programs of `python` at hand, once it is ready at `port`."""
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            _wait_until_ready(process, port, folder / "log")
            yield Running(name, port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _quanary(case: Case, port: int, folder: Path) -> list[str | Path]:  # noqa: ARG001
    ports = (f"--http-port={port}", "--twin-port=0", "--grpc-port=0", f"--metrics-port={free_port()}")
    command = [sys.executable, "-m", "quanary", "serve", case.model.absolute(), "--name=m", *ports]
    return [*command, "--host=127.0.0.1", "--threads=1"]


def _kserve(case: Case, port: int, folder: Path) -> list[str | Path]:  # noqa: ARG001
    return [peer_python("kserve"), PEERS / "kserve_server.py", case.model.absolute(), str(port)]


def _mlserver(case: Case, port: int, folder: Path) -> list[str | Path]:
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    model = {
        "name": "m",
        "implementation": "mlserver_runtime.Session",
        "parameters": {"uri": str(case.model.absolute())},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    shutil.copy(PEERS / "mlserver_runtime.py", folder)
    return [peer_python("mlserver").with_name("mlserver"), "start", "."]


def _triton(case: Case, port: int, folder: Path) -> list[str | Path]:
    python = peer_python("triton")
    parts = next(python.parents[1].glob("lib/python*/site-packages/pytriton/tritonserver"))
    # The backend looks for its stub beside itself; the package keeps one for each Python elsewhere.
    stub = f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    if not (parts / "backends/python" / Path(stub).name).exists():
        shutil.copy(parts / stub, parts / "backends/python")
    model = folder / "repository/m"
    (model / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(PEERS / "triton_model.py", model / "1/model.py")
    (model / "config.pbtxt").write_text(_triton_config(case))
    options = ("--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false")
    folders = (f"--model-repository={model.parent.absolute()}", f"--backend-directory={parts / 'backends'}")
    return [parts / "bin/tritonserver", *folders, *options, f"--http-port={port}"]


def _triton_config(case: Case) -> str:
    shape, size = list(case.row.shape[1:]), {"mlp": 10, "trf": 16, "cnn": 1000}[case.model.stem]
    return f"""backend: "python"
max_batch_size: 64
dynamic_batching {{}}
input [ {{ name: "x", data_type: {TYPES[case.row.dtype.kind]}, dims: {shape} }} ]
output [ {{ name: "y", data_type: TYPE_FP32, dims: [{size}] }} ]
parameters {{ key: "path", value: {{ string_value: "{case.model.absolute()}" }} }}
"""


STARTS: Final[dict[str, Start]] = {"quanary": _quanary, "kserve": _kserve, "mlserver": _mlserver, "triton": _triton}


def peer_python(peer: str) -> Path:
    """Python of the peer's environment."""
    return python_of(PEERS / f"{peer}.txt")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/m/ready", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{process.args!r} did not become ready:\n" + "\n".join(log.read_text().splitlines()[-20:]))
