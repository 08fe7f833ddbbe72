"""Requests lost while everything under them moves: `python -m bench.serving.losses`

On the cluster, through the gateway: rolling restarts of either variant, scale-downs and changes of weight, one after
another, under a steady load. Any answer that is no 2xx, and any request without an answer, is lost. Writes
out/bench-serving/losses.json and fails if a figure leaves its range (ranges.toml).
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from bench.ranges import broken
from e2e.cluster.kubectl import kubectl
from e2e.demo import kube, stories
from e2e.demo.kube import wait_for
from e2e.demo.load import Answer
from e2e.demo.narrator import Narrator
from e2e.demo.stage import set_stage
from e2e.demo.watch import WHOLE
from quanary.api import names

OUT: Final = Path("out/bench-serving/losses.json")
RANGES: Final = Path(__file__).parent / "ranges.toml"
NAMESPACE: Final = "quanary-losses"
NAME: Final = "silero-vad-losses"
# Four pods and one more during a restart, on a node of two cores.
RESOURCES: Final = {"cpu": "250m", "memory": "256Mi"}
PROOF_RATE: Final = 20.0  # until it is promoted
REPLICAS: Final = 2
PATIENCE_SECONDS: Final = 180.0
LONGEST_SECONDS: Final = 3 * 3600.0


@dataclass(frozen=True)
class Move:
    """Something that moved under the load, from when to when (Unix seconds)."""

    kind: str
    began: float
    ended: float


@dataclass(frozen=True)
class Model:
    """A promoted model with both variants running."""

    stage: stories.Stage
    deployments: dict[str, str]  # by variant

    def restart(self, variant: str) -> None:
        """Replace every pod of a variant."""
        what = (f"--namespace={NAMESPACE}", f"deployment/{self.deployments[variant]}")
        kubectl("rollout", "restart", *what)
        kubectl("rollout", "status", *what, f"--timeout={PATIENCE_SECONDS:.0f}s")

    def scale(self, replicas: int) -> None:
        """Both variants, to so many pods each; the others are gone when this returns."""
        self.patch({"runtime": {"replicas": replicas}})
        for name in self.deployments.values():
            wait_for(f"{name} has {replicas} pods", lambda name=name: _has_pods(name, replicas), PATIENCE_SECONDS)  # type: ignore[misc]

    def shift(self, mode: str, weight: int) -> None:
        """All traffic to float, or back to INT8."""
        self.patch({"rollout": {"mode": mode}})
        wait_for(f"INT8 has {weight}", lambda: self.stage.chronicle.weight_of(NAME) == weight, PATIENCE_SECONDS, 0.1)

    def patch(self, spec: dict[str, Any]) -> None:
        """As a user does."""
        patch = json.dumps({"spec": spec})
        kubectl("patch", names.PLURAL, NAME, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")


def main() -> int:
    """All of it; 1 if a range is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second; one pod alone must bear it")
    parser.add_argument("--requests", type=int, default=100_000, help="at least so many")
    parser.add_argument("--moves", type=int, default=100, help="at least so many restarts, scale-downs and shifts")
    wanted = parser.parse_args()
    with set_stage(Narrator(), NAMESPACE, rate=wanted.rate, seconds=LONGEST_SECONDS) as stage:
        try:
            model = promoted(stage)
            since = time.time()
            stage.load.aim(NAME, wanted.rate)
            moves = list(moves_of(model, wanted.moves, wanted.requests, since))
        finally:
            stage.load.aim(NAME, 0)
            wait_for("no request under way", lambda: not stage.load.under_way(NAME), 30, every=0.2)
            kube.delete(NAMESPACE)
        answers = stage.load.answers(NAME, since)
    return report(moves, answers)


def promoted(stage: stories.Stage) -> Model:
    """Bring the model up, and all the way."""
    manifest = stage.example(stories.TURNING)
    manifest["metadata"]["name"] = NAME
    spec = manifest["spec"]
    spec["gates"] |= {"mismatch": 0.2, "latency": {"p99": "5s"}}  # what is measured here is not how fast it is
    spec["rollout"] |= {"steps": [100], "dwell": "1s"}
    spec["runtime"] |= {"replicas": REPLICAS, "resources": RESOURCES}
    stories.bring_up(stage, manifest, PROOF_RATE)
    status = kube.wait_for_stage(NAMESPACE, NAME, ("Promoted",), stories.PROMOTED_SECONDS)["status"]
    digests: dict[names.Variant, str] = {"float": status["source"]["sha256"], "int8": status["stable"]["digest"]}
    deployments: dict[str, str] = {each: names.variant_name(NAME, each, digest) for each, digest in digests.items()}
    return Model(stage, deployments)


def moves_of(model: Model, least: int, requests: int, since: float) -> Iterator[Move]:
    """One after another, until there were enough of them and of requests."""
    actions: list[tuple[str, Callable[[], None]]] = [
        ("restart", lambda: model.restart("int8")),
        ("weight", lambda: model.shift("FloatOnly", 0)),
        ("restart", lambda: model.restart("float")),
        ("scale-down", lambda: model.scale(REPLICAS - 1)),
        ("weight", lambda: model.shift("Auto", WHOLE)),
        ("scale-up", lambda: model.scale(REPLICAS)),
        ("weight", lambda: model.shift("FloatOnly", 0)),
        ("weight", lambda: model.shift("Auto", WHOLE)),
        ("scale-down", lambda: model.scale(REPLICAS - 1)),
        ("scale-up", lambda: model.scale(REPLICAS)),
    ]
    done = 0
    for kind, act in cycle(actions):
        if done >= least and len(model.stage.load.answers(NAME, since)) >= requests:
            return
        began = time.time()
        act()
        # A pod that was added takes nothing away, so it is no move that could lose a request.
        done += kind != "scale-up"
        lost = sum(each.has_failed for each in model.stage.load.answers(NAME, began))
        model.stage.narrator.say(f"{kind} {done}", f"{time.time() - began:.1f} s, {lost} lost")
        yield Move(kind, began, time.time())


def report(moves: Sequence[Move], answers: Sequence[Answer]) -> int:
    """Write, print and judge."""
    lost = [each for each in answers if each.has_failed]
    counts = Counter(each.kind for each in moves)
    figures = {
        "losses.requests": len(answers),
        "losses.lost": len(lost),
        "losses.moves": len(moves) - counts["scale-up"],
        **{f"losses.{kind}s": count for kind, count in counts.items()},
    }
    rows = [{"at": each.done_at, "error": each.error, "during": _during(each, moves)} for each in lost]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"figures": figures, "lost": rows}, indent=1))
    for name, value in figures.items():
        print(f"{name:24}{value:10}")
    for row in rows[:20]:
        print(f"lost during {row['during']}: {row['error']}")
    problems = broken(figures, RANGES, ("losses.",))
    print("\n".join(problems) or "every figure is in its range")
    return 1 if problems else 0


def _during(answer: Answer, moves: Sequence[Move]) -> str:
    """What moved last when the request had failed, and for how long already."""
    before = [each for each in moves if each.began <= answer.done_at]
    return f"{before[-1].kind}, {answer.done_at - before[-1].began:.2f} s after it began" if before else "nothing"


def _has_pods(deployment: str, count: int) -> bool:
    digest = deployment.rpartition("-")[2]
    found = kube.pods(NAMESPACE, f"{names.LABEL_MODEL}={NAME},{names.LABEL_DIGEST}={digest}")
    ready = [each for each in found if _is_ready(each)]
    return len(found) == len(ready) == count


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


if __name__ == "__main__":
    sys.exit(main())
