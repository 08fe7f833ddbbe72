"""From a float model to a certified INT8 one, against Neural Compressor on the same data: `python -m bench.quantizer`

Both tune on the same samples on one thread; both results are judged on the same sealed data by the same certificate.
What is compared is CPU seconds of all processes, with imports; wall seconds, that a busy machine stretches, are shown.
Writes out/bench-quantizer/bench-quantizer.json and fails if a figure leaves its range (ranges.toml), or is missing.
`--quick` takes the two small models: some minutes. All four take half an hour, most of it the peer's.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.quantizer import cases
from bench.quantizer.cases import Case
from bench.quantizer.running import Spent
from bench.quantizer.sides import Result, by_hand, ours, peer
from bench.ranges import broken
from e2e.environment import python_of
from quanary.quantizer.calibrate.memory import peak_bytes
from quanary.quantizer.machine import could_saturate, cpu_features

HERE: Final = Path(__file__).parent
OUT: Final = Path("out/bench-quantizer")
QUICK: Final = ("silero-vad", "cls")
# Models whose best recipe is known by hand.
BY_HAND: Final = ("silero-vad", "magika")
MEASURED_FOR_MEMORY: Final = "silero-vad"
MANY, FEW = 400, 50


@dataclass(frozen=True)
class Row:
    """All sides on one model. A peer that found nothing is what it spent."""

    ours: Result
    peer: Result | Spent
    by_hand: Result | None


def main() -> int:
    """All of it; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="silero-vad, magika, cls, rec; all if none")
    parser.add_argument("--quick", action="store_true", help=f"only {' and '.join(QUICK)}")
    arguments = parser.parse_args()
    wanted = QUICK if arguments.quick else tuple(arguments.models)
    python = python_of(HERE / "peer-requirements.txt")
    work = cases.clear(OUT)
    rows, figures = {}, {}
    for case in cases.make(work, python):
        if not wanted or case.name in wanted:
            rows[case.name] = row = _row(case, python, work)
            figures |= {f"{case.name}.{name}": value for name, value in _figures(case, row).items()}
            _show(case.name, row)
    written = {"figures": figures, "results": {name: asdict(row) for name, row in rows.items()}}
    (OUT / "bench-quantizer.json").write_text(json.dumps(written, indent=1))
    for name, value in figures.items():
        print(f"{name:50}{value:8.3f}")
    problems = broken(figures, HERE / "ranges.toml", tuple(f"{name}." for name in rows))
    print("\n".join(problems) or "every figure is in its range")
    return 1 if problems else 0


def _row(case: Case, python: Path, work: Path) -> Row:
    found = ours(case, work)
    return Row(found, peer(case, python, work), by_hand(case, work) if case.name in BY_HAND else None)


def _figures(case: Case, row: Row) -> dict[str, float]:
    mine, other = row.ours, row.peer
    figures = {
        # A success that is none: slower than float, or hardly quantized.
        "slower_than_float_but_beneficial": float(mine.verdict == "Beneficial" and mine.latency_ratio < 1),
        "quantized_share_of_a_success": mine.quantized_share if mine.is_success else 1.0,
        "drop_over_budget": mine.drop_upper_bound / case.max_drop,
    }
    figures |= _against_peer(mine, other)
    if row.by_hand:
        figures["speed_over_by_hand"] = mine.latency_ratio / row.by_hand.latency_ratio
        figures["size_over_by_hand"] = mine.size_ratio / row.by_hand.size_ratio
    if case.name == "cls":
        # Kernels without VNNI make it slower than float; with VNNI any verdict is a measured one.
        figures["right_verdict"] = float(not could_saturate(cpu_features()) or _is_honest_no(mine))
    if case.name == MEASURED_FOR_MEMORY:
        peaks = {count: peak_bytes(case.model, case.validation, count) for count in (MANY, FEW)}
        figures["calibration_memory_of_400_over_50"] = peaks[MANY] / peaks[FEW]
    return figures


def _against_peer(mine: Result, other: Result | Spent) -> dict[str, float]:
    if isinstance(other, Spent):
        # It never came to a result: at least what it spent, and whatever we have is better.
        return {
            "cpu_of_peer_over_ours": other.cpu / mine.judged.cpu,
            "search_cpu_of_peer_over_ours": other.cpu / mine.found.cpu,
            "sealed_drop_over_peers": mine.drop - 1,
        }
    return {
        "cpu_of_peer_over_ours": other.judged.cpu / mine.judged.cpu,
        "wall_of_peer_over_ours": other.judged.wall / mine.judged.wall,
        "search_cpu_of_peer_over_ours": other.found.cpu / mine.found.cpu,
        "sealed_drop_over_peers": mine.drop - other.drop,
        "size_over_peers": mine.size_ratio / other.size_ratio,
    }


def _is_honest_no(mine: Result) -> bool:
    return mine.verdict == "NotBeneficial" and "times as fast as float on this CPU" in mine.because


def _show(name: str, row: Row) -> None:
    sides: Mapping[str, Any] = {"ours": row.ours, "peer": row.peer, "by hand": row.by_hand}
    for side, result in sides.items():
        if isinstance(result, Result):
            print(f"{name:12}{side:9}{_line(result)}", flush=True)
        elif result:
            print(f"{name:12}{side:9}nothing within {result.wall:.0f} s, {result.cpu:.0f} s of CPU", flush=True)


def _line(result: Result) -> str:
    return (
        f"{result.found.cpu:7.1f} s of CPU to find, {result.judged.cpu:7.1f} to certify ({result.judged.wall:.0f} s"
        f" wall), {result.evaluations:3} evaluations  {result.verdict:14} drop {result.drop:.4f} (at most"
        f" {result.drop_upper_bound:.4f})  size {result.size_ratio:.3f}  {result.latency_ratio:.2f} times as fast"
    )


if __name__ == "__main__":
    sys.exit(main())
