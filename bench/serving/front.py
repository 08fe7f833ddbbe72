"""What the front costs where another server runs the model: `python -m bench.serving.front`

Alone: CPU time a request of the front before a server that always gives the same answer. Before Triton, with the model
repository that a pod would have: answers in the same time and CPU time a request, against Triton asked directly, in
turns. Triton has a core to itself. Writes out/bench-serving/bench-front.json and fails if a figure leaves its range.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from bench.ranges import broken
from bench.serving.__main__ import CORE, CORES, OTHERS, OUT, load, on
from bench.serving.cpu import cpu_seconds, resident_bytes
from bench.serving.models import Case, make
from bench.serving.servers import Running, free_port, peer_python, started
from quanary.server.repository import main as write_repository

HERE: Final = Path(__file__).parent
BACKEND: Final = HERE.parents[1] / "e2e/triton/backends/onnxruntime"
ROUND_SECONDS: Final = 3.0
CASES: Final = ("small-body", "binary-body")
HERE_PYTHON: Final = Path(sys.executable)


def main() -> int:
    """All of it; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    OUT.mkdir(parents=True, exist_ok=True)
    cases = {case.name: case for case in make(OUT)}
    figures = alone(cases["tiny"], rounds)
    for name in CASES:
        figures |= before_triton(cases[name], rounds)
    (OUT / "bench-front.json").write_text(json.dumps(figures, indent=1))
    for name, value in figures.items():
        print(f"{name:40}{value:10.3f}")
    problems = broken(figures, HERE / "front.toml")
    print("\n".join(problems) or "every figure is in its range")
    return 1 if problems else 0


def alone(case: Case, rounds: int) -> dict[str, float]:
    """The front before a server that costs nothing to wait for."""
    folder = OUT / "front-alone"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [*on(set(CORES)), HERE_PYTHON, HERE / "trivial.py", str(port)]
    with _started("trivial", command, port, folder) as behind, _front(case, behind, folder, CORE) as front:
        load(case, front, folder, 0.5)
        costs = [_measure(case, front, [front], folder) for _ in range(rounds)]
        return {
            "alone.cpu_milliseconds": 1000 * median(cpu for _, cpu in costs),
            "alone.resident_mib": resident_bytes(front.pid) / 2**20,
        }


def before_triton(case: Case, rounds: int) -> dict[str, float]:
    """Triton with and without the front, in turns."""
    folder = OUT / f"front-{case.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with _triton(case, folder) as triton, _front(case, triton, folder, OTHERS) as front:
        for each in (triton, front):
            load(case, each, folder, 0.5)
        direct, behind = [], []
        for _ in range(rounds):
            direct.append(_measure(case, triton, [triton], folder))
            behind.append(_measure(case, front, [triton, front], folder))
    pairs = list(zip(direct, behind, strict=True))
    return {
        f"{case.name}.throughput": median(front[0] / alone[0] for alone, front in pairs),
        f"{case.name}.cpu": median(front[1] / alone[1] for alone, front in pairs),
        f"{case.name}.triton_cpu_milliseconds": 1000 * median(cpu for _, cpu in direct),
    }


def _measure(case: Case, asked: Running, counted: Sequence[Running], folder: Path) -> tuple[float, float]:
    """Answers in the time of a round, and CPU time of each."""
    before = sum(cpu_seconds(each.pid) for each in counted)
    said = load(case, asked, folder, ROUND_SECONDS)
    if said["failed"]:
        raise SystemExit(f"{asked.name}: {said['failed']} of {said['answers']} requests failed")
    return said["answers"], (sum(cpu_seconds(each.pid) for each in counted) - before) / said["answers"]


@contextmanager
def _front(case: Case, behind: Running, folder: Path, cores: set[int]) -> Iterator[Running]:
    port = free_port()
    ports = (f"--http-port={port}", f"--metrics-port={free_port()}")
    command = [HERE_PYTHON, "-m", "quanary", "serve", case.model.absolute(), "--name=m", *ports]
    with _started("front", [*on(cores), *command, f"--upstream=http://127.0.0.1:{behind.port}"], port, folder) as front:
        yield front


@contextmanager
def _triton(case: Case, folder: Path) -> Iterator[Running]:
    """As in a pod: one thread, its own repository, the backend of the test image."""
    model, port, python = folder / "model.onnx", free_port(), peer_python("triton")
    shutil.copy(case.model, model)
    write_repository(
        [str(model), "--name=m", f"--out={folder / 'repository'}", "--threads=1", "--latency-budget-seconds=0.5"]
    )
    parts = next(python.parents[1].glob("lib/python*/site-packages/pytriton/tritonserver"))
    stub = f"python_backend_stubs/{sys.version_info.major}.{sys.version_info.minor}/triton_python_backend_stub"
    shutil.copy(parts / stub, parts / "backends/python")
    backends = folder / "backends"
    backends.mkdir()
    for each in (parts / "backends/python", BACKEND):
        (backends / each.name).symlink_to(each)
    folders = (f"--model-repository={(folder / 'repository').absolute()}", f"--backend-directory={backends.absolute()}")
    options = (
        "--http-address=127.0.0.1",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--disable-auto-complete-config",
    )
    command = [*on(CORE), parts / "bin/tritonserver", *folders, *options, f"--http-port={port}"]
    with started("triton", command, port, folder, python) as server:
        yield server


@contextmanager
def _started(name: str, command: Sequence[str | Path], port: int, folder: Path) -> Iterator[Running]:
    inside = folder / name
    inside.mkdir(exist_ok=True)
    with started(name, command, port, inside, HERE_PYTHON) as server:
        yield server


if __name__ == "__main__":
    sys.exit(main())
