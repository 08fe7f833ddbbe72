"""Whether INT8 pays on this CPU: both variants timed in turns, in fresh sessions, on the same inputs."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from quanary.quantizer.inference import Array, Model, open_model
from quanary.wire.report import BenefitFigures

BLOCKS: Final = 5
WARM_UPS: Final = 3
# Of one variant in one block: enough runs for a median, all blocks in a few seconds.
BLOCK_SECONDS: Final = 0.3
FEWEST_RUNS: Final = 5


@dataclass
class Timings:
    """Seconds of single inferences: CPU time of the calling thread (neighbours do not count), and wall clock."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def extend(self, other: "Timings") -> None:
        """Take in another block."""
        self.cpu += other.cpu
        self.wall += other.wall


def measure(
    float_path: Path, int8_path: Path, feeds: Sequence[dict[str, Array]], threads: int, min_speedup: float
) -> BenefitFigures:
    """Ratios of medians over interleaved blocks; who goes first alternates."""
    floats, int8s, ratios = Timings(), Timings(), []
    for block in range(BLOCKS):
        order = (float_path, int8_path) if block % 2 == 0 else (int8_path, float_path)
        timed = {path: _time(open_model(path, "spec.model.uri", threads), feeds) for path in order}
        ratios.append(median(timed[float_path].cpu) / median(timed[int8_path].cpu))
        floats.extend(timed[float_path])
        int8s.extend(timed[int8_path])
    return BenefitFigures(
        float_seconds=median(floats.cpu),
        int8_seconds=median(int8s.cpu),
        latency_ratio=median(floats.cpu) / median(int8s.cpu),
        wall_ratio=median(floats.wall) / median(int8s.wall),
        block_ratios=tuple(ratios),
        threads=threads,
        min_speedup=min_speedup,
    )


def _time(model: Model, feeds: Sequence[dict[str, Array]]) -> Timings:
    timings = Timings()
    for feed in feeds[:WARM_UPS]:
        model.run(feed)
    end = time.perf_counter() + BLOCK_SECONDS
    for feed in itertools.cycle(feeds):
        cpu, wall = time.thread_time(), time.perf_counter()
        model.run(feed)
        timings.cpu.append(time.thread_time() - cpu)
        timings.wall.append(time.perf_counter() - wall)
        if time.perf_counter() > end and len(timings.cpu) >= FEWEST_RUNS:
            return timings
    return timings
