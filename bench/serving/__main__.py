"""What serving costs beside the model itself, here and in three other servers: `python -m bench.serving`

CPU time of one raw run of ONNX Runtime (one row, one thread), measured just before and after, over CPU time a request
of the server: 1.0 is a server that costs nothing, more is what batching gains. Both are of one moment on one core, so
that a busy machine slows both. Writes out/bench-serving/bench-serving.json and fails if a figure leaves its range
(ranges.toml).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

import onnxruntime

from bench.ranges import broken
from bench.serving.cpu import cpu_seconds, resident_bytes
from bench.serving.models import Case, make
from bench.serving.servers import STARTS, Running, running

HERE: Final = Path(__file__).parent
OUT: Final = Path("out/bench-serving")
CONNECTIONS: Final = 8
ROUND_SECONDS: Final = 1.5
WARM_UP_SECONDS: Final = 0.5
RAW_SECONDS: Final = 0.3
# Servers and raw runs have a core to themselves; the load comes from the others.
CORES: Final = sorted(os.sched_getaffinity(0))
CORE: Final = {CORES[0]}
OTHERS: Final = set(CORES[1:]) or CORE


@dataclass(frozen=True)
class Round:
    """One server under load for a moment. Times in seconds, a request."""

    cpu: float
    raw: float
    answers: int
    failed: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Result:
    """A server on a case: medians of its rounds."""

    efficiency: float  # raw CPU over CPU a request
    cpu: float
    p50: float
    p99: float
    requests_per_second: float
    failed: int
    resident_mib: float


def main() -> int:
    """All of it; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", default=[], help="tiny, small-body, binary-body or json-body; all")
    parser.add_argument("--server", action="append", default=[], help="quanary, kserve, mlserver or triton; all")
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    cases = [case for case in make(OUT) if not wanted.case or case.name in wanted.case]
    servers = [name for name in STARTS if not wanted.server or name in wanted.server]
    results = {case.name: measure(case, servers, wanted.rounds) for case in cases}
    figures = figures_of(results)
    rows = {case: {name: asdict(result) for name, result in row.items()} for case, row in results.items()}
    (OUT / "bench-serving.json").write_text(json.dumps({"results": rows, "figures": figures}, indent=1))
    problems = broken(figures, HERE / "ranges.toml", tuple(f"{case.name}." for case in cases))
    print("\n".join(problems) or "every figure is in its range")
    return 1 if problems else 0


def measure(case: Case, servers: Sequence[str], rounds: int) -> dict[str, Result]:
    """All servers on one case, in turns, so that each meets the machine in the same moods."""
    folder = OUT / case.name
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        started = [stack.enter_context(running(name, case, folder / name, on(CORE))) for name in servers]
        for each in started:
            load(case, each, folder, WARM_UP_SECONDS)
        measured: dict[str, list[Round]] = {each.name: [] for each in started}
        raw = Raw(case)
        for _ in range(rounds):
            for each in started:
                measured[each.name].append(_round(case, each, raw, folder))
        results = {each.name: _result(measured[each.name], resident_bytes(each.pid)) for each in started}
    for name, result in results.items():
        _show(case.name, name, result)
    return results


class Raw:
    """The model in this process."""

    def __init__(self, case: Case) -> None:
        """Load it as every server does: on one thread."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(case.model), options, providers=["CPUExecutionProvider"])
        self._inputs = {"x": case.row}

    def seconds(self) -> float:
        """CPU time of one run, on the core of the servers."""
        os.sched_setaffinity(0, CORE)
        end, runs = time.perf_counter() + RAW_SECONDS, 0
        started = time.thread_time()
        while time.perf_counter() < end:
            self._session.run(["y"], self._inputs)
            runs += 1
        seconds = (time.thread_time() - started) / runs
        os.sched_setaffinity(0, CORES)
        return seconds


def _round(case: Case, server: Running, raw: Raw, folder: Path) -> Round:
    before = raw.seconds()
    cpu = cpu_seconds(server.pid)
    said = load(case, server, folder, ROUND_SECONDS)
    cpu = cpu_seconds(server.pid) - cpu
    count = max(1, int(said["answers"]))
    return Round(cpu / count, (before + raw.seconds()) / 2, count, int(said["failed"]), said["p50"], said["p99"])


def load(case: Case, server: Running, folder: Path, seconds: float) -> dict[str, float]:
    """What the client says of a closed loop of some connections."""
    body = case.body
    head = ("POST /v2/models/m/infer HTTP/1.1", "Host: m", *body.headers, f"Content-Length: {len(body.content)}")
    request = folder / "request"
    request.write_bytes("\r\n".join((*head, "", "")).encode() + body.content)
    command = (sys.executable, "-m", "bench.serving.client", str(server.port), str(CONNECTIONS), str(seconds), request)
    done = subprocess.run([*on(OTHERS), *command], capture_output=True, check=True)
    said: dict[str, float] = json.loads(done.stdout)
    return said


def on(cores: set[int]) -> list[str]:
    """Words before a command that keep it on these cores."""
    return ["taskset", "--cpu-list", ",".join(str(core) for core in sorted(cores))]


def _result(rounds: Sequence[Round], resident: int) -> Result:
    return Result(
        efficiency=median(each.raw / each.cpu for each in rounds),
        cpu=median(each.cpu for each in rounds),
        p50=median(each.p50 for each in rounds),
        p99=median(each.p99 for each in rounds),
        requests_per_second=median(each.answers / ROUND_SECONDS for each in rounds),
        failed=sum(each.failed for each in rounds),
        resident_mib=resident / 2**20,
    )


def figures_of(results: dict[str, dict[str, Result]]) -> dict[str, float]:
    """Our efficiency and how many times that of each other server; of what answers at all."""
    figures: dict[str, float] = {}
    for case, row in results.items():
        ours = row.get("quanary")
        if ours is None:
            continue
        figures[f"{case}.of_raw"] = ours.efficiency
        figures[f"{case}.failed"] = ours.failed
        for name, peer in row.items():
            if peer is not ours and not peer.failed:
                figures[f"{case}.over_{name}"] = ours.efficiency / peer.efficiency
    return figures


def _show(case: str, name: str, result: Result) -> None:
    print(
        f"{case:12}{name:9}{result.efficiency:6.3f} of raw  {result.cpu * 1e6:8.0f} us CPU  "
        f"{result.requests_per_second:7.0f}/s  p50 {result.p50 * 1e3:6.1f} ms  p99 {result.p99 * 1e3:6.1f} ms  "
        f"{result.resident_mib:4.0f} MiB" + (f"  {result.failed} failed" if result.failed else ""),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
