"""`python -m quanary.quantizer.benefit.block`: one block of timings in a process of its own.

A request as JSON on stdin, a result as one line of JSON on stdout. A process of its own, because what makes one run
differ from the next by a tenth (where memory lies, which CPU it began on) differs between processes and hardly within
one. Few imports: every block pays for them.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from quanary.wire.energy import Package, joules_between, readable_packages

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read by the import below
import onnxruntime

Feed = dict[str, np.ndarray[Any, Any]]

# Runs of one variant before it is the other's turn: long against a switch, short against the moods of a machine.
CHUNK_SECONDS: Final = 0.02
WARM_UPS: Final = 3
WARM_UP_SECONDS: Final = 0.1
# Of a slow model: enough for a median at batch 1, where it decides.
FEWEST_CHUNKS, FEWEST_CHUNKS_OF_BATCHES = 3, 2
# The batch is there for information: a model that needs longer for it is measured at batch 1 only.
BATCH_LIMIT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Request:
    """What to time: one or two models by variant, who goes first first."""

    models: dict[str, str]
    feeds: str  # an .npz file with arrays `<feed>.<input>`, both counted from 0
    inputs: list[str]
    threads: int
    batch: int
    seconds: float  # of each variant at each batch size
    only: int | None = None  # the one feed to hold, for what a process that serves one question at a time needs


@dataclass(frozen=True)
class Timing:
    """One inference of one variant: medians of seconds, means of what can only be counted over many."""

    cpu_seconds: float  # of the calling thread; with several threads, of the process
    wall_seconds: float
    process_seconds: float
    joules: float | None
    runs: int


@dataclass(frozen=True)
class Result:
    """Timings by batch size, then variant; why the batch is missing; the most memory this process ever held."""

    timings: dict[str, dict[str, Timing]]
    batch_missing: str
    peak_bytes: int


@dataclass
class _Tally:
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    process: float = 0.0
    joules: float = 0.0


def run_block(request: Request) -> Result:
    """Batch 1, then the server's batch where the models take one."""
    feeds = read_feeds(Path(request.feeds), request.inputs, request.only)
    sessions = {variant: _open(path, request.threads) for variant, path in request.models.items()}
    timings = {"1": _take_turns(sessions, feeds, request.threads, request.seconds, FEWEST_CHUNKS)}
    pace = max(each.wall_seconds for each in timings["1"].values())
    batches, missing = _batches(sessions, feeds, request.batch, pace)
    if batches:
        try:
            timings[str(request.batch)] = _take_turns(
                sessions, batches, request.threads, request.seconds, FEWEST_CHUNKS_OF_BATCHES
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it says that this model takes no batches
            missing = f"the model refuses it: {error}"
    return Result(timings, missing, _peak_bytes())


def write_feeds(feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]], inputs: Sequence[str], path: Path) -> None:
    """Hand feeds over to `read_feeds`. Names stay out of the file: they may be anything, its members' may not."""
    arrays = {f"{i}.{k}": _plain(feed[name]) for i, feed in enumerate(feeds) for k, name in enumerate(inputs)}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype(np.str_) if array.dtype == np.object_ else array


def read_feeds(path: Path, inputs: Sequence[str], only: int | None = None) -> list[Feed]:
    """What `write_feeds` wrote, or one of it."""
    with np.load(path, allow_pickle=False) as arrays:
        wanted = range(len(arrays.files) // len(inputs)) if only is None else (only,)
        return [{name: arrays[f"{i}.{k}"] for k, name in enumerate(inputs)} for i in wanted]


def _open(path: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads of one variant that wait in a loop for its next run would be charged to the other.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _warm_up(sessions: Mapping[str, Any], feeds: Sequence[Feed]) -> float:
    """Seconds of one inference of the slower variant."""
    paces = []
    for session in sessions.values():
        end = time.perf_counter() + WARM_UP_SECONDS
        for turn in range(WARM_UPS):
            started = time.perf_counter()
            session.run(None, feeds[turn % len(feeds)])
            pace = time.perf_counter() - started
            if started + pace > end:
                break
        paces.append(pace)
    return max(paces)


def _take_turns(
    sessions: Mapping[str, Any], feeds: Sequence[Feed], threads: int, seconds: float, fewest: int
) -> dict[str, Timing]:
    """Both variants on the same feeds, chunk by chunk."""
    packages = readable_packages()
    tallies = {variant: _Tally() for variant in sessions}
    runs = max(1, int(CHUNK_SECONDS / _warm_up(sessions, feeds)))
    chunk = 0
    end = time.perf_counter() + seconds * len(sessions)
    while chunk < fewest or time.perf_counter() < end:
        turn = [feeds[(chunk * runs + index) % len(feeds)] for index in range(runs)]
        for variant, session in sessions.items():
            if runs > 1:
                session.run(None, turn[-1])  # the other variant has had the caches
            _run_chunk(session, turn, threads, packages, tallies[variant])
        chunk += 1
    return {variant: _timing(tally, bool(packages)) for variant, tally in tallies.items()}


def _run_chunk(session: Any, feeds: Sequence[Feed], threads: int, packages: tuple[Package, ...], tally: _Tally) -> None:
    clock = time.thread_time if threads == 1 else time.process_time
    energy = [each.read() for each in packages]
    process = time.process_time()
    for feed in feeds:
        wall, cpu = time.perf_counter(), clock()
        session.run(None, feed)
        tally.cpu.append(clock() - cpu)
        tally.wall.append(time.perf_counter() - wall)
    tally.process += time.process_time() - process
    tally.joules += joules_between(packages, energy, [each.read() for each in packages])


def _timing(tally: _Tally, has_energy: bool) -> Timing:
    runs = len(tally.cpu)
    joules = tally.joules / runs if has_energy else None
    return Timing(median(tally.cpu), median(tally.wall), tally.process / runs, joules, runs)


def _batches(sessions: Mapping[str, Any], feeds: Sequence[Feed], size: int, pace: float) -> tuple[list[Feed], str]:
    """Feeds of `size` samples each, or why there are none."""
    if size <= 1:
        return [], "the server asks one question at a time"
    for each in (each for session in sessions.values() for each in session.get_inputs()):
        if not each.shape or isinstance(each.shape[0], int):
            return [], f"the first dimension of input {each.name} is fixed"
    expected = pace * size * len(sessions) * (WARM_UPS + FEWEST_CHUNKS_OF_BATCHES)
    if expected > BATCH_LIMIT_SECONDS:
        return [], f"it would take {expected:.0f} s a block"
    return stack(feeds, size), ""


def stack(feeds: Sequence[Feed], size: int) -> list[Feed]:
    """Batches of `size` feeds along the first axis, in turn; of feeds as long as the first one alone."""
    like = [each for each in feeds if _shapes(each) == _shapes(feeds[0])]
    groups = [[like[(start + k) % len(like)] for k in range(size)] for start in range(0, len(like), size)]
    return [{name: np.concatenate([each[name] for each in group]) for name in feeds[0]} for group in groups]


def _shapes(feed: Feed) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feed.items()}


def _peak_bytes() -> int:
    """Of this program alone. `getrusage` would count what its parent held when it started this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status; needed: Linux")


if __name__ == "__main__":
    print(json.dumps(asdict(run_block(Request(**json.load(sys.stdin))))))
