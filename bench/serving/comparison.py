"""What the comparison with the twin costs beside the twin's own inference: `python -m bench.serving.comparison`

Two servers of one model get the same distinct inputs in turns, one with the comparison and one without; a third is the
twin. Counted is CPU time outside of the threads that run models: what the comparing server uses more than the other,
and all that the twin uses, over all that a user's request costs without comparison. Writes
out/bench-serving/bench-comparison.json and fails if a figure leaves its range (comparison.toml).
"""

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import uvloop

from bench.ranges import broken
from bench.serving.models import Case, make
from quanary.server.ask import TwinConnection
from quanary.wire.inference import HEADER_LENGTH
from quanary.wire.metrics import COMPARED, COMPARISONS_DROPPED

HERE: Final = Path(__file__).parent
OUT: Final = Path("out/bench-serving")
SOURCES: Final = str(Path(__file__).parents[2] / "operator")
RATIO: Final = 0.2
INPUTS: Final = 400
CONNECTIONS: Final = 4
ROUND_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.6
START_SECONDS: Final = 60.0
CORES: Final = sorted(os.sched_getaffinity(0))
# The names of the cases, and of what is sent to them: 150 KB of binary tensors each time for the pictures.
CASES: Final = ("tiny", "small-body", "binary-body")


@dataclass(frozen=True)
class Server:
    """One that is ready."""

    url: str
    metrics_url: str
    twin_url: str
    pid: int

    def tasks(self) -> dict[int, float]:
        """CPU seconds of each thread so far."""
        return {int(each.name): _task_seconds(each) for each in Path(f"/proc/{self.pid}/task").glob("*")}

    def spent(self, before: dict[int, float]) -> tuple[float, float]:
        """CPU seconds since then: of all threads, and of those beside the one that ran the model."""
        spent = {task: seconds - before.get(task, 0.0) for task, seconds in self.tasks().items()}
        model = max((seconds for task, seconds in spent.items() if task != self.pid), default=0.0)
        return sum(spent.values()), sum(spent.values()) - model

    def count(self, name: str) -> float:
        """A counter, over all its labels."""
        text = urllib.request.urlopen(f"{self.metrics_url}/gates", timeout=5).read().decode()
        return sum(float(each) for each in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@dataclass(frozen=True)
class Figures:
    """Of one case: seconds of CPU a request, medians of its rounds."""

    request: float  # without comparison
    asker: float  # more with it
    twin: float  # of the twin, beside its model
    share: float  # of both in a request without comparison
    compared: float  # share of requests
    dropped: float


def main() -> int:
    """All cases; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[], help=f"{', '.join(CASES)}; all")
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    names = wanted.case or CASES
    found = {case.name: _measure(case, wanted.rounds) for case in make(OUT) if case.name in names}
    (OUT / "bench-comparison.json").write_text(json.dumps({name: asdict(each) for name, each in found.items()}))
    for name, each in found.items():
        print(
            f"{name:<12} {each.request * 1e6:8.0f} us a request; comparison {each.share:6.2%}: "
            f"{each.asker * 1e6:.0f} us here, {each.twin * 1e6:.0f} us at the twin; "
            f"{each.compared:.1%} compared, {each.dropped:.1%} dropped"
        )
    shares = {f"{name}.share": each.share for name, each in found.items()}
    problems = broken(shares, HERE / "comparison.toml", tuple(f"{name}." for name in names))
    print("\n".join(problems))
    return 1 if problems else 0


def _measure(case: Case, rounds: int) -> Figures:
    twin_model = OUT / f"{case.model.stem}-twin.onnx"
    # The same graph under another digest: an unknown field of a protobuf says nothing.
    twin_model.write_bytes(case.model.read_bytes() + b"\xfa\x7f\x01x")
    bodies = _bodies(case)
    with ExitStack() as stack:
        twin = stack.enter_context(_running(twin_model, "int8"))
        off = stack.enter_context(_running(case.model, "float"))
        on = stack.enter_context(
            _running(case.model, "float", f"--twin-url={twin.twin_url}", f"--sample-ratio={RATIO}")
        )
        for server in (off, on):
            _load(server, bodies, 1.0)
        return _figures([_round(off, on, twin, bodies) for _ in range(rounds)])


def _round(off: Server, on: Server, twin: Server, bodies: Sequence[tuple[bytes, int]]) -> Figures:
    all_off, beside_off, requests_off = _spent(off, bodies)
    before, compared, dropped = twin.tasks(), on.count(COMPARED), on.count(COMPARISONS_DROPPED)
    _, beside_on, requests_on = _spent(on, bodies)
    asker = beside_on / requests_on - beside_off / requests_off
    at_twin = twin.spent(before)[1] / requests_on
    request = all_off / requests_off
    return Figures(
        request,
        asker,
        at_twin,
        (asker + at_twin) / request,
        (on.count(COMPARED) - compared) / requests_on,
        (on.count(COMPARISONS_DROPPED) - dropped) / requests_on,
    )


def _figures(rounds: Sequence[Figures]) -> Figures:
    return Figures(**{name: median(asdict(each)[name] for each in rounds) for name in asdict(rounds[0])})


def _spent(server: Server, bodies: Sequence[tuple[bytes, int]]) -> tuple[float, float, int]:
    """CPU seconds of all threads and of those beside the model's, and how many requests they were for."""
    before = server.tasks()
    requests = _load(server, bodies, ROUND_SECONDS)
    time.sleep(PAUSE_SECONDS)  # the last comparisons end
    server.count(COMPARED)  # those that wait are judged when somebody looks
    return (*server.spent(before), requests)


def _load(server: Server, bodies: Sequence[tuple[bytes, int]], seconds: float) -> int:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_ask(server.url, bodies, seconds))


async def _ask(url: str, bodies: Sequence[tuple[bytes, int]], seconds: float) -> int:
    end, turn, answers = time.monotonic() + seconds, cycle(bodies), 0

    async def ask_in_turn() -> None:
        nonlocal answers
        connection = TwinConnection(url)
        while time.monotonic() < end:
            content, head = next(turn)
            answer = await connection.ask("POST", "/v2/models/m/infer", f"{HEADER_LENGTH}: {head}\r\n", (content,))
            if answer.status != 200:
                raise SystemExit(f"{url}: {answer.status} {answer.body[:200]!r}")
            answers += 1
        connection.close()

    await asyncio.gather(*(ask_in_turn() for _ in range(CONNECTIONS)))
    return answers


def _bodies(case: Case) -> list[tuple[bytes, int]]:
    random = np.random.default_rng(2)
    return [_body(replace(case, row=_varied(case.row, random)).row) for _ in range(INPUTS)]


def _varied(row: Any, random: np.random.Generator) -> Any:
    return random.permuted(row, axis=-1) if row.dtype.kind == "i" else row + random.standard_normal(1).astype(row.dtype)


def _body(row: Any) -> tuple[bytes, int]:
    datatype = {"f": "FP32", "i": "INT64"}[row.dtype.kind]
    size = {"binary_data_size": row.nbytes}
    tensor = {"name": "x", "shape": list(row.shape), "datatype": datatype, "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + row.tobytes(), len(head)


@contextmanager
def _running(model: Path, variant: str, *more: str) -> Iterator[Server]:
    http, twin, metrics = (_free_port() for _ in range(3))
    ports = (f"--http-port={http}", f"--twin-port={twin}", f"--metrics-port={metrics}", "--grpc-port=0")
    # Batches would come and go with the load: they would be measured, not the comparison.
    words = (f"--variant={variant}", "--threads=1", "--max-batch=1", *ports, *more)
    command = ["taskset", "-c", str(CORES[0]), sys.executable, "-m", "quanary", "serve", model, "--name=m", *words]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    server = Server(*(f"http://127.0.0.1:{port}" for port in (http, metrics, twin)), process.pid)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{server.url}/v2/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{server.url} did not become ready")


def _task_seconds(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except OSError:  # it has ended
        return 0.0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
