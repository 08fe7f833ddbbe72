"""The stories: a good artifact, two bad ones, and one that turns bad while it carries traffic."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from e2e.cluster.command import CommandError
from e2e.demo import examples, kube
from e2e.demo.kube import TooLateError, wait_for, wait_for_stage
from e2e.demo.load import NO_CLASS, Answer, Load, Question, wrong
from e2e.demo.narrator import Narrator
from e2e.demo.outcome import BadArtifact, Rollback
from e2e.demo.setup import scrape_seconds
from e2e.demo.watch import WHOLE, Chronicle
from quanary.api.names import short

GOOD: Final = "magika"
TURNING: Final = "silero-vad"
# Requests a second; all stories together stay within the load's timetable.
GOOD_RATE: Final = 11.0  # magika costs 24 ms of CPU a request
DEFAULTS_RATE: Final = 1.0
NARROW_RATE: Final = 5.0
TURNING_RATE: Final = 13.0
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "errors": {"kind": "errors", "share": 0.5},
    "wrong": {"kind": "wrong", "share": 0.5},
    "slow": {"kind": "slow", "share": 0.5, "delaySeconds": 2.0},
}
# The fault that takes longest to be proven: its model stays, and takes over the requests of those that have left.
STEADY: Final = "slow"
STEADY_RATE: Final = 3 * TURNING_RATE
SLOW_SECONDS: Final = 1.5  # above the examples' budget, below the fault's delay
ENDED: Final = ("Rejected", "RolledBack")
STARTED_SECONDS: Final = 120.0
PROMOTED_SECONDS: Final = 1200.0
JUDGED_SECONDS: Final = 600.0
CANARY_SECONDS: Final = 900.0
OFF_TRAFFIC_SECONDS: Final = 180.0  # latency is judged in blocks of 30 s
CONDEMNED_SECONDS: Final = 240.0


@dataclass(frozen=True)
class Stage:
    """What every story plays on."""

    namespace: str
    gateway: str
    registry: str
    digests: Mapping[str, str]  # by reference
    asked: Mapping[str, Sequence[Question]]  # by example's model: magika, silero-vad
    test_image: str
    chronicle: Chronicle
    load: Load
    narrator: Narrator

    def example(self, name: str) -> examples.Manifest:
        """An example, with this cluster's registry and digests."""
        return examples.render(examples.load(name), self.digests, self.registry)


def bring_up(stage: Stage, manifest: examples.Manifest, rate: float) -> str:
    """Apply a model and give it load as soon as it answers; its name."""
    name = str(manifest["metadata"]["name"])
    stage.narrator.say(name, "kubectl apply")
    kube.apply(stage.namespace, manifest)
    wait_for(f"{name} answers through the gateway", lambda: answers(stage.gateway, name), STARTED_SECONDS)
    stage.narrator.say(name, f"float answers; {rate:g} requests a second from now on")
    asked = next(asked for model, asked in stage.asked.items() if name.startswith(model))
    stage.load.aim(name, rate, asked)
    return name


def answers(gateway: str, name: str) -> bool:
    """Whether the model is ready, asked as a user would."""
    try:
        with urllib.request.urlopen(f"http://{gateway}/v2/models/{name}/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def take_down(stage: Stage, name: str) -> None:
    """End its load, wait for the last answers, remove it."""
    stage.load.aim(name, 0)
    wait_for(f"{name} has no request under way", lambda: not stage.load.under_way(name), 30, every=0.2)
    kube.delete(stage.namespace, name)


def show(stage: Stage, name: str) -> None:
    """What a user sees of it: the columns, the events, the end of its description."""
    quote = stage.narrator.quote
    quote(name, f"kubectl get qm {name} -o wide", list(kube.columns(stage.namespace, name)))
    quote(name, f"kubectl get events (of {name})", kube.events(stage.namespace, name).splitlines())
    lines = kube.describe(stage.namespace, name).splitlines()
    parts = [*_part(lines, "  Candidate:"), *_part(lines, "  Condemned:"), *_part(lines, "  Gates:")]
    quote(name, f"kubectl describe qm {name} (excerpt)", parts[:60])


def _part(lines: list[str], title: str) -> list[str]:
    """A section of `kubectl describe`: its title and what is indented below."""
    if title not in lines:
        return []
    start = lines.index(title)
    rest = (position for position in range(start + 1, len(lines)) if not lines[position].startswith("   "))
    return lines[start : next(rest, len(lines))]


def good(stage: Stage) -> tuple[bool, tuple[float, ...]]:
    """A good artifact goes all the way: whether it was promoted, and the weights seen, in percent."""
    try:
        name = bring_up(stage, stage.example(GOOD), GOOD_RATE)
        wait_for_stage(stage.namespace, name, ("Promoted", *ENDED), PROMOTED_SECONDS)
        wait_for(
            f"the route of {name} gives INT8 everything", lambda: stage.chronicle.weight_of(name) == WHOLE, 10, 0.2
        )
        show(stage, name)
    except (TooLateError, CommandError) as error:
        stage.narrator.say(GOOD, str(error), "bold red")
    seen = stage.chronicle.weights_of(GOOD)
    is_promoted = any(each.stage == "Promoted" for each in stage.chronicle.stages_of(GOOD))
    return is_promoted and bool(seen) and seen[-1].weight == WHOLE, _percent(each.weight for each in seen)


def bad(stage: Stage, example: str, rate: float) -> BadArtifact:
    """An artifact that must never get traffic."""
    try:
        name = bring_up(stage, stage.example(example), rate)
        status = wait_for_stage(stage.namespace, name, ENDED, JUDGED_SECONDS)["status"]
        show(stage, name)
        take_down(stage, name)
    except (TooLateError, CommandError) as error:
        stage.narrator.say(example, str(error), "bold red")
        status = {"stage": "none", "because": str(error)}
    most = max((each.weight for each in stage.chronicle.weights_of(example)), default=0)
    return BadArtifact(status["stage"], status["because"], most * 100 / WHOLE)


def fault(stage: Stage, kind: str) -> Rollback:
    """An artifact that turns bad while it carries half of the traffic."""
    manifest = examples.faulty(examples.load(TURNING), kind, stage.test_image)
    return fault_of(stage, manifest, kind, stays=kind == STEADY)


def fault_of(stage: Stage, manifest: examples.Manifest, kind: str, *, stays: bool) -> Rollback:
    """The same of any model that the test image serves; it is taken down in the end unless it `stays`."""
    name = str(manifest["metadata"]["name"])
    try:
        bring_up(stage, examples.render(manifest, stage.digests, stage.registry), TURNING_RATE)
        return _turn_bad(stage, name, kind, stays=stays)
    except (TooLateError, CommandError) as error:
        stage.narrator.say(name, str(error), "bold red")
        stage.load.aim(name, 0)
        return Rollback(kind, str(error), None, None, condemned=False, scrape_seconds=scrape_seconds())


def _turn_bad(stage: Stage, name: str, kind: str, *, stays: bool) -> Rollback:
    wait_for(f"{name} carries traffic", lambda: stage.chronicle.weight_of(name), CANARY_SECONDS, every=0.2)
    status = kube.model(stage.namespace, name)["status"]
    int8, source = short(status["candidate"]["digest"]), short(status["source"]["sha256"])
    wait_for(f"users of {name} get INT8 answers", lambda: _count(stage, name, int8) >= 20, 30, every=0.2)
    scrape = scrape_seconds()
    began = time.time()
    for pod in kube.int8_pods(stage.namespace, name):
        kube.turn_fault(stage.namespace, pod, **FAULTS[kind])
        stage.narrator.say(name, f"fault on in {pod}: {dict(FAULTS[kind])}", "magenta")
    wait_for(f"{name} is off traffic", lambda: _zero_at(stage, name, began), OFF_TRAFFIC_SECONDS, every=0.2)
    status = _wait_until_condemned(stage, name)
    zero = _zero_at(stage, name, began)
    first = first_bad(kind, stage.load.answers(name), source, began)
    decided = decided_at(status, began, zero) if zero else None
    took = zero - first if zero and first else None
    after = zero - decided if zero and decided else None
    if took is not None and after is not None:
        stage.narrator.say(
            name, f"first bad answer to weight 0: {took:.1f} s; decision to weight 0: {after:.2f} s", "bold"
        )
    show(stage, name)
    if not stays:
        take_down(stage, name)
    condemned = status.get("condemned", [])
    reason = condemned[-1]["reason"] if condemned else status["because"]
    return Rollback(kind, reason, took, after, condemned=bool(condemned), scrape_seconds=scrape)


def _wait_until_condemned(stage: Stage, name: str) -> Mapping[str, Any]:
    """Its status once it is condemned, or as it is when patience ends."""
    try:
        found = wait_for_stage(stage.namespace, name, ("RolledBack",), CONDEMNED_SECONDS)
    except TooLateError as error:
        stage.narrator.say(name, str(error), "bold red")
        found = kube.model(stage.namespace, name)
    status: Mapping[str, Any] = found["status"]
    return status


def _count(stage: Stage, name: str, digest: str) -> int:
    return sum(each.digest == digest for each in stage.load.answers(name))


def _zero_at(stage: Stage, name: str, since: float) -> float | None:
    return next((each.at for each in stage.chronicle.weights_of(name, since) if each.weight == 0), None)


def first_bad(kind: str, found: list[Answer], float_digest: str, since: float) -> float | None:
    """When a user first felt the fault, Unix seconds."""
    match kind:
        case "errors":
            felt = [each for each in found if each.is_injected]
        case "slow":
            felt = [each for each in found if each.seconds >= SLOW_SECONDS and each.top1 != NO_CLASS]
        case _:
            felt = wrong(found, float_digest)
    times = [each.done_at for each in felt if each.digest != float_digest and each.done_at >= since]
    return min(times, default=None)


def decided_at(status: Mapping[str, Any], since: float, until: float) -> float | None:
    """When the operator decided what brought the weight to 0 at `until`, Unix seconds, by its own history.

    Held at its weight comes before, and is no decision to take it away.
    """
    entries = [
        datetime.fromisoformat(each["at"]).timestamp()
        for each in status.get("history", [])
        if each["stage"] in {"Held", "RolledBack"}
    ]
    return max((each for each in entries if since <= each <= until), default=None)


def _percent(weights: Iterable[int]) -> tuple[float, ...]:
    return tuple(each * 100 / WHOLE for each in weights)
