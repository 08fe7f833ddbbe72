"""From a float model to a certified INT8 one, against Neural Compressor on the same data: `python -m bench.quantizer`

Both tune on the same samples on one thread; both results are judged on the same sealed data by the same certificate.
Writes out/bench-quantizer/bench-quantizer.json and fails if a figure leaves its range (ranges.toml).
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.quantizer import cases
from bench.quantizer.cases import Case
from bench.quantizer.ranges import broken
from e2e.demo.build import cache_folder

HERE: Final = Path(__file__).parent
OUT: Final = Path("out/bench-quantizer")
# A step's line on stderr: `[6/7]   12.3s  measure …`.
MEASURE: Final = re.compile(r"\[\d+/\d+\]\s+([0-9.]+)s\s+measure")
PEER_LIMIT_SECONDS: Final = 900


@dataclass(frozen=True)
class Result:
    """One side on one model. Seconds from the start of its process until its result was certified, or was not."""

    seconds: float
    verdict: str
    drop: float
    drop_upper_bound: float
    size_ratio: float
    latency_ratio: float
    evaluations: int


def main() -> int:
    """All of it; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="silero-vad, magika, cls, rec; all if none")
    wanted = parser.parse_args().models
    python = _peer()
    work = cases.clear(OUT)
    rows = {}
    for case in cases.make(work, python):
        if not wanted or case.name in wanted:
            rows[case.name] = {"ours": _ours(case, work), "peer": _judged(case, _peer_run(case, python, work), work)}
            _show(case.name, rows[case.name])
    figures = _figures(rows)
    sides = {name: {side: row and asdict(row) for side, row in row.items()} for name, row in rows.items()}
    (OUT / "bench-quantizer.json").write_text(json.dumps({"results": sides, "figures": figures}, indent=1))
    problems = broken(figures, HERE / "ranges.toml")
    print("\n".join(problems) or "every figure is in its range")
    return 1 if problems else 0


def _peer() -> Path:
    """Python of the peer's environment, made once for a lock file."""
    lock = HERE / "peer-requirements.txt"
    folder = cache_folder().parent / "bench" / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "--require-hashes", "-r", lock], check=True)
        (folder / "complete").touch()
    return folder / "bin/python"


def _quantize(case: Case, out: Path, *more: str) -> tuple[float, dict[str, Any]]:
    """Seconds until measuring began, for then it was certified (the end, if nothing was), and the report."""
    command = [sys.executable, "-m", "quanary", "quantize", str(case.model), f"--validation={case.validation}"]
    command += [f"--metric={case.metric}", f"--max-drop={case.max_drop}", f"--out={out}", "--threads=1", *more]
    started = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        assert run.stderr
        lines, seconds = [], 0.0
        for line in run.stderr:
            lines.append(line)
            if MEASURE.search(line):
                seconds = time.monotonic() - started
    if run.returncode:
        raise SystemExit("".join(lines))
    return seconds or time.monotonic() - started, json.loads((out / "report.json").read_text())


def _ours(case: Case, work: Path) -> Result:
    """Search and certificate."""
    seconds, report = _quantize(case, work / case.name / "ours", f"--calibration={case.calibration}")
    return _result(seconds, report, report["search"]["evaluations"])


def _peer_run(case: Case, python: Path, work: Path) -> dict[str, Any]:
    model = work / case.name / "peer.onnx"
    paths = (HERE / "peer.py", case.model, case.calibration.absolute(), model.absolute())
    command = [python, *paths, str(case.max_drop)]
    folder, started = work / case.name, time.monotonic()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, timeout=PEER_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        print(f"{case.name}: the peer was stopped after {PEER_LIMIT_SECONDS} s")
        return {"found": False}
    if done.returncode:
        (folder / "peer.log").write_text(done.stdout + done.stderr)
        print(f"{case.name}: the peer failed: {done.stderr.strip().splitlines()[-1]}")
        return {"found": False}
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return {"model": model, **said, "seconds": time.monotonic() - started}


def _judged(case: Case, peer: dict[str, Any], work: Path) -> Result | None:
    if not peer["found"]:
        return None
    out = work / case.name / "peer"
    seconds, report = _quantize(case, out, f"--provided={peer['model']}")
    return _result(peer["seconds"] + seconds, report, peer["evaluations"])


def _result(seconds: float, report: dict[str, Any], evaluations: int) -> Result:
    return Result(
        seconds=seconds,
        verdict=report["verdict"],
        drop=report["signoff"]["drop"],
        drop_upper_bound=report["signoff"]["dropUpperBound"],
        size_ratio=report["artifact"]["sizeRatio"],
        latency_ratio=report["artifact"]["latencyRatio"],
        evaluations=evaluations,
    )


def _figures(rows: dict[str, dict[str, Result | None]]) -> dict[str, float]:
    figures = {}
    for name, row in rows.items():
        ours, peer = row["ours"], row["peer"]
        if ours and peer:
            figures[f"{name}.time_of_peer_over_ours"] = peer.seconds / ours.seconds
            figures[f"{name}.sealed_drop_over_peers"] = ours.drop - peer.drop
            figures[f"{name}.size_over_peers"] = ours.size_ratio / peer.size_ratio
        if ours and ours.verdict == "Beneficial":
            figures[f"{name}.speedup_where_beneficial"] = ours.latency_ratio
    return figures


def _show(name: str, row: dict[str, Result | None]) -> None:
    for side, result in row.items():
        print(f"{name:12}{side:6}", end="")
        if result is None:
            print("no result")
            continue
        print(
            f"{result.seconds:8.1f} s {result.evaluations:4} evaluations  {result.verdict:15}"
            f"drop {result.drop:.4f} (at most {result.drop_upper_bound:.4f})  size {result.size_ratio:.3f}"
            f"  {result.latency_ratio:.2f} times as fast",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
