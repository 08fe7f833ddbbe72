"""`make demo`: a model is served, quantized, certified and shifted; bad ones are stopped. Writes out/demo.json."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Final

from e2e.cluster import paths
from e2e.cluster.command import CommandError
from e2e.demo import kube, stories
from e2e.demo.load import tally
from e2e.demo.narrator import Narrator
from e2e.demo.outcome import LEAST_REQUESTS, BadArtifact, Outcome, Requests, Rollback
from e2e.demo.setup import NAMESPACE
from e2e.demo.stage import set_stage

OUT: Final = paths.REPO / "out" / "demo.json"
RATE: Final = 56.0  # slots a second, all models together
LONGEST_SECONDS: Final = 2400.0


def play(narrator: Narrator) -> Outcome:
    """Set up, play every story, count."""
    with set_stage(narrator, NAMESPACE, rate=RATE, seconds=LONGEST_SECONDS) as stage:
        setup_seconds, load = narrator.seconds, stage.load
        with ThreadPoolExecutor(2) as pool:
            promotion = pool.submit(stories.good, stage)
            others = pool.submit(play_bad, stage)
            promoted, weights = promotion.result()
            bad, rollbacks = others.result()
        if load.is_running and len(load.answers()) < LEAST_REQUESTS:
            narrator.say("load", f"going on until {LEAST_REQUESTS} requests are sent")
            kube.wait_for("enough requests", lambda: len(load.answers()) >= LEAST_REQUESTS, 300)
    counts = tally(load.answers())
    narrator.say("load", f"{counts.sent} requests, {counts.failed} failed, {counts.injected} injected errors")
    for failure in counts.failures:
        narrator.say("load", failure, "bold red")
    requests = Requests(counts.sent, counts.failed, counts.injected)
    return Outcome(round(setup_seconds, 1), promoted, weights, bad, rollbacks, requests)


def play_bad(stage: stories.Stage) -> tuple[tuple[BadArtifact, ...], tuple[Rollback, ...]]:
    """The faults side by side; when two of them have made room, those that never get traffic, one by one."""
    with ThreadPoolExecutor(len(stories.FAULTS)) as pool:
        turning = [pool.submit(stories.fault, stage, kind) for kind in stories.FAULTS]
        list(islice(as_completed(turning), 2))
        stage.load.aim(f"{stories.TURNING}-{stories.STEADY}", stories.STEADY_RATE)
        bad = (
            stories.bad(stage, "magika-provided-defaults", stories.DEFAULTS_RATE),
            stories.bad(stage, "magika-narrow", stories.NARROW_RATE),
        )
        return bad, tuple(each.result() for each in turning)


def write(outcome: Outcome, path: Path = OUT) -> None:
    """For whoever checks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(outcome.to_json(), indent=2) + "\n")


def main() -> int:
    """The exit code: 0 if everything went as promised."""
    narrator = Narrator()
    try:
        outcome = play(narrator)
    except CommandError as error:
        print(error.report(), file=sys.stderr)
        return 1
    write(outcome)
    failures = outcome.failures()
    for failure in failures:
        narrator.say("demo", failure, "bold red")
    narrator.say("demo", f"{OUT.relative_to(paths.REPO)} written; " + ("FAILED" if failures else "all as promised"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
