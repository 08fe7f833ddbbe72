"""Blocks of timings, each in a fresh process, until they decide; and the figures they add up to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import quanary
from quanary.quantizer.benefit.block import Request, Result, Timing, write_feeds
from quanary.quantizer.benefit.decide import LOOKS, interval_of, is_faster, mean_of
from quanary.quantizer.graph import size_of
from quanary.quantizer.inference import Array
from quanary.quantizer.progress import Progress
from quanary.wire.report import BatchFigures, BenefitFigures, RefusedError

FLOAT, INT8 = "float", "int8"
# Who goes first has the colder CPU: that must not be the same one every time.
ORDERS: Final = ((FLOAT, INT8), (INT8, FLOAT))
# Of each variant at each batch size in a block: many medians' worth for a small model, and all done in seconds.
BLOCK_SECONDS: Final = 0.2
LIMIT_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Question:
    """What is compared, and how."""

    models: dict[str, Path]
    feeds: Path
    inputs: tuple[str, ...]
    threads: int
    batch: int

    def block(self, order: Sequence[str]) -> Request:
        """Both variants, in turns."""
        models = {each: str(self.models[each].absolute()) for each in order}
        return Request(models, str(self.feeds.absolute()), list(self.inputs), self.threads, self.batch, BLOCK_SECONDS)

    def alone(self, variant: str, feed: int) -> Request:
        """One variant on one feed, for its memory: what it holds settles with the first runs."""
        return replace(self.block([variant]), seconds=0.0, only=feed)


def measure(  # noqa: PLR0913 - a measurement is all of these
    float_path: Path,
    int8_path: Path,
    feeds: Sequence[dict[str, Array]],
    *,
    threads: int,
    batch: int,
    min_speedup: float,
    min_size_reduction: float,
    work: Path,
    progress: Progress | None = None,
) -> BenefitFigures:
    """Time both variants on the same feeds, 5, 10 or 15 blocks, as many as it takes to decide at batch 1.

    Raises:
        RefusedError: a model fails, or takes longer or more memory than there is.
    """
    inputs = tuple(feeds[0])
    question = Question({FLOAT: float_path, INT8: int8_path}, work / "benefit.npz", inputs, threads, batch)
    write_feeds(feeds, inputs, question.feeds)
    largest = max(range(len(feeds)), key=lambda index: sum(array.nbytes for array in feeds[index].values()))
    try:
        peaks = {each: run(question.alone(each, largest)).peak_bytes for each in (FLOAT, INT8)}
        results = _until_decided(question, min_speedup, progress)
    finally:
        question.feeds.unlink()
    # A batch near the limit of its time may be missing from a slow block.
    sizes = [size for size in results[0].timings if all(size in each.timings for each in results)]
    batches = tuple(_batch_figures(results, size) for size in sizes)
    at_one = [each.timings["1"] for each in results]
    return BenefitFigures(
        latency_ratio=batches[0].ratio,
        batches=batches,
        size_ratio=size_of(int8_path) / size_of(float_path),
        memory_ratio=peaks[INT8] / peaks[FLOAT],
        cpu_seconds_float=median(each[FLOAT].process_seconds for each in at_one),
        cpu_seconds_int8=median(each[INT8].process_seconds for each in at_one),
        joules_float=_joules([each[FLOAT] for each in at_one]),
        joules_int8=_joules([each[INT8] for each in at_one]),
        threads=threads,
        blocks=len(results),
        looks=LOOKS.index(len(results)) + 1,
        min_speedup=min_speedup,
        min_size_reduction=min_size_reduction,
    )


def _until_decided(question: Question, min_speedup: float, progress: Progress | None) -> list[Result]:
    results: list[Result] = []
    for blocks in LOOKS:
        turns = range(len(results), blocks)
        watched = progress.watch(turns, len(turns), "blocks") if progress is not None else turns
        results += [run(question.block(ORDERS[turn % 2])) for turn in watched]
        ratios = _ratios(results, "1")
        interval = interval_of(ratios)
        if progress is not None:
            progress.note(
                f"{blocks} blocks: {mean_of(ratios):.2f} times as fast, {interval.low:.2f} to {interval.high:.2f}"
            )
        if is_faster(interval, min_speedup) is not None:
            break
    missing = next((each.batch_missing for each in results if each.batch_missing), "")
    if progress is not None and missing:
        progress.note(f"batch {question.batch} is not measured: {missing}")
    return results


def _batch_figures(results: Sequence[Result], size: str) -> BatchFigures:
    timings = [each.timings[size] for each in results]
    ratios = _ratios(results, size)
    return BatchFigures(
        batch=int(size),
        float_seconds=median(each[FLOAT].cpu_seconds for each in timings),
        int8_seconds=median(each[INT8].cpu_seconds for each in timings),
        ratio=mean_of(ratios),
        interval=interval_of(ratios),
        wall_ratio=mean_of([each[FLOAT].wall_seconds / each[INT8].wall_seconds for each in timings]),
        block_ratios=ratios,
    )


def _ratios(results: Sequence[Result], size: str) -> tuple[float, ...]:
    timings = [each.timings[size] for each in results]
    return tuple(each[FLOAT].cpu_seconds / each[INT8].cpu_seconds for each in timings)


def _joules(timings: Sequence[Timing]) -> float | None:
    joules = [each.joules for each in timings if each.joules is not None]
    return median(joules) if joules else None


def run(request: Request, limit_seconds: float = LIMIT_SECONDS) -> Result:
    """One block in a fresh process.

    Raises:
        RefusedError: it died or did not end within the limit.
    """
    # -P: not what lies in the working directory, where the data may be.
    words = [sys.executable, "-P", "-m", "quanary.quantizer.benefit.block"]
    roots = [str(Path(quanary.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots)), "ORT_DISABLE_TELEMETRY": "1"}
    try:
        ended = subprocess.run(  # noqa: S603 - this interpreter, and words of ours alone
            words,
            input=json.dumps(asdict(request)),
            env=environment,
            timeout=limit_seconds,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        found = f"a measurement of {_named(request)} that took longer than {limit_seconds:g} s"
        raise RefusedError("spec.runtime.resources.cpu", found, "CPUs that run the model within that time") from error
    if ended.returncode:
        raise _death(request, ended)
    return _result(json.loads(ended.stdout.splitlines()[-1]))


def _death(request: Request, ended: "subprocess.CompletedProcess[str]") -> RefusedError:
    if ended.returncode == -signal.SIGKILL:
        found = f"a measurement of {_named(request)} that was killed, most likely for its memory"
        return RefusedError("spec.runtime.resources.memory", found, "memory for both models at once")
    how = signal.Signals(-ended.returncode).name if ended.returncode < 0 else f"exit code {ended.returncode}"
    said = ended.stderr.strip().splitlines()[-1:]
    found = f"a measurement of {_named(request)} that failed in a fresh process: {': '.join([how, *said])}"
    return RefusedError("spec.model.uri", found, "a model that runs on its own data")


def _named(request: Request) -> str:
    return " and ".join(Path(path).name for path in request.models.values())


def _result(value: dict[str, Any]) -> Result:
    timings = {
        size: {variant: Timing(**timing) for variant, timing in variants.items()}
        for size, variants in value["timings"].items()
    }
    return Result(timings, value["batch_missing"], value["peak_bytes"])
