"""Both sides on one model, judged alike: what we find, what the peer finds, and what a person would write by hand."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.quantizer.cases import Case
from bench.quantizer.running import END, Run, Spent, run

HERE: Final = Path(__file__).parent
PEER_LIMIT_SECONDS: Final = 900.0
LIMIT_SECONDS: Final = 3600.0
# Steps on stderr: `[5/7]   12.3s  certify …`. What is certified has been found; what is measured has been certified.
_MARKS: Final = {name: re.compile(rf"^\[\d+/\d+\] +[0-9.]+s +{name}") for name in ("certify", "measure", "write")}
# Those whose artifacts are worth rolling out.
SUCCESSES: Final = ("Beneficial", "SizeOnly")


@dataclass(frozen=True)
class Result:
    """One side. `found`: until its search ended; `judged`: until it was certified, or was not. Shares: 0 to 1."""

    found: Spent
    judged: Spent
    verdict: str
    because: str
    drop: float
    drop_upper_bound: float
    size_ratio: float
    latency_ratio: float
    quantized_share: float
    evaluations: int

    @property
    def is_success(self) -> bool:
        """Whether it would be rolled out."""
        return self.verdict in SUCCESSES


def ours(case: Case, work: Path) -> Result:
    """Search and certificate."""
    done, report = _quantize(case, work / case.name / "ours", f"--calibration={case.calibration.absolute()}")
    return _result(done.spent["certify"], Spent(0, 0), done, report, report["search"]["evaluations"])


def peer(case: Case, python: Path, work: Path) -> Result | Spent:
    """Its own run, then our certificate of what it found; what it spent, if it found nothing."""
    folder = work / case.name
    model = (folder / "peer.onnx").absolute()
    words = (HERE / "peer.py", case.model, case.calibration.absolute(), model, case.max_drop)
    done = run([python, *words], {}, PEER_LIMIT_SECONDS, folder)
    (folder / "peer.log").write_text(done.said)
    said = json.loads(done.printed.strip().splitlines()[-1]) if done.code == 0 else {"found": False}
    if not said["found"]:
        return done.spent[END]
    judged, report = _quantize(case, folder / "peer", f"--provided={model}")
    return _result(done.spent[END], done.spent[END], judged, report, said["evaluations"])


def by_hand(case: Case, work: Path) -> Result:
    """The best recipe that is known for the model, written with ONNX Runtime's own tools."""
    folder = work / case.name
    model = (folder / "by-hand.onnx").absolute()
    words = (case.model, case.calibration, model)
    done = run([sys.executable, "-m", "bench.quantizer.by_hand", *words], {}, LIMIT_SECONDS)
    if done.code:
        raise SystemExit(done.said)
    judged, report = _quantize(case, folder / "by-hand", f"--provided={model}")
    return _result(done.spent[END], done.spent[END], judged, report, 1)


def _quantize(case: Case, out: Path, *more: str) -> tuple[Run, dict[str, Any]]:
    command = [sys.executable, "-m", "quanary", "quantize", case.model, f"--validation={case.validation.absolute()}"]
    command += [f"--metric={case.metric}", f"--max-drop={case.max_drop}", f"--out={out}", "--threads=1", *more]
    done = run(command, _MARKS, LIMIT_SECONDS)
    if done.code:
        raise SystemExit(done.said)
    return done, json.loads((out / "report.json").read_text())


def _result(found: Spent, before: Spent, done: Run, report: Mapping[str, Any], evaluations: int) -> Result:
    # Nothing is measured of what was not certified.
    judged = done.spent.get("measure") or done.spent["write"]
    return Result(
        found=found,
        judged=before + judged,
        verdict=report["verdict"],
        because=report["because"],
        drop=report["signoff"]["drop"],
        drop_upper_bound=report["signoff"]["dropUpperBound"],
        size_ratio=report["artifact"]["sizeRatio"],
        latency_ratio=report["artifact"]["latencyRatio"],
        quantized_share=_quantized_share(report),
        evaluations=evaluations,
    )


def _quantized_share(report: Mapping[str, Any]) -> float:
    """Of compute nodes; only what we make is known node by node."""
    graph = report.get("graph")
    if not graph:
        return float("nan")
    quantized, kept = len(graph["quantizedNodes"]), len(graph["keptFloatNodes"])
    return quantized / max(quantized + kept, 1)
