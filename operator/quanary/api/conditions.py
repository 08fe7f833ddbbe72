"""Stage -> Kubernetes conditions, as kstatus and `kubectl wait` read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from quanary.api.v1alpha1 import Condition, Stage

# kstatus: Reconciling=True is InProgress, Stalled=True is Failed, otherwise Ready decides. Both are abnormal-true:
# absent when all is well. RolledBack and Rejected are Stalled (a person must act) although something healthy serves.
RECONCILING: Final = frozenset(
    {Stage.PENDING, Stage.SERVING_FLOAT, Stage.QUANTIZING, Stage.SHADOWING, Stage.CANARY, Stage.HELD}
)
STALLED: Final = frozenset({Stage.STALLED, Stage.ROLLED_BACK, Stage.REJECTED})


State = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class RouteWord:
    """Whether the route's Gateways can do what the spec asks of them: RouteSupported, with a reason of its own."""

    status: State
    reason: str
    message: str


@dataclass(frozen=True)
class Facts:
    """What the conditions are made from."""

    stage: Stage
    reason: str  # CamelCase
    because: str
    generation: int
    is_healthy: bool  # something with ready pods answers through an accepted route
    is_quantized: bool  # a fit artifact for the present inputs exists
    is_proven: bool  # it was proven within the mismatch budget on live traffic
    route: RouteWord
    is_settled: bool = False  # nothing further is planned (FloatOnly)


def conditions(facts: Facts, previous: Iterable[Condition], now: datetime) -> tuple[Condition, ...]:
    """All conditions of a status; lastTransitionTime moves only when the state does."""
    before = {each.type: each for each in previous}
    words = [(name, state, facts.reason, facts.because) for name, state in _states(facts)]
    words.append(("RouteSupported", facts.route.status, facts.route.reason, facts.route.message))
    return tuple(
        Condition(
            type=name,
            status=state,
            reason=reason,
            message=message[:1024],
            observed_generation=facts.generation,
            last_transition_time=_since(before.get(name), state, now),
        )
        for name, state, reason, message in words
    )


def _states(facts: Facts) -> list[tuple[str, State]]:
    states: list[tuple[str, State]] = [
        ("Ready", _word(facts.is_healthy)),
        ("Quantized", _word(facts.is_quantized)),
        ("Proven", _word(facts.is_proven)),
        ("RolledBack", _word(facts.stage is Stage.ROLLED_BACK)),
    ]
    if facts.stage in RECONCILING and not facts.is_settled:
        states.append(("Reconciling", "True"))
    if facts.stage in STALLED:
        states.append(("Stalled", "True"))
    return states


def _word(value: bool) -> Literal["True", "False"]:
    return "True" if value else "False"


def _since(before: Condition | None, state: str, now: datetime) -> datetime:
    return before.last_transition_time if before and before.status == state else now.replace(microsecond=0)
