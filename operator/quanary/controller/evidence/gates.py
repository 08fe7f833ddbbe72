"""The budgets of one pair, each as "k bad of n" out of counters summed over pods."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from quanary.api.names import Variant
from quanary.wire.metrics import (
    COMPARED,
    COMPARED_DISTINCT,
    COMPARISONS_DROPPED,
    ERRORS,
    ESCALATED,
    ESCALATIONS_REFUSED,
    INPUT_WINDOWS,
    INPUT_WINDOWS_DRIFTED,
    INPUTS_CHECKED,
    INPUTS_OUT_OF_RANGE,
    MISMATCHED,
    MISMATCHED_DISTINCT,
    OVER_BUDGET,
    REQUESTS,
)

# p99 <= budget means that at most this share is slower.
LATENCY_SHARE: Final = 0.01
# Long enough that the number of requests in a block varies little: slow answers that come just when few do would
# otherwise count too much.
LATENCY_BLOCK_SECONDS: Final = 30.0

MISMATCH: Final = "mismatch"
DISTINCT: Final = "mismatch-distinct"
LATENCY: Final = "latency"
FAST: Final = "errors-fast"
ESCALATION: Final = "escalation"
# No gate: what a pod answers to a twin that compares. INT8's answers make float's counts.
ANSWERS: Final = "answers"
# What depends on the pod's own spec; the other gates count the same in any pod.
BY_SPEC: Final = frozenset((MISMATCH, LATENCY, ESCALATION, ANSWERS))

Key = tuple[Variant, str]  # the pods' variant and the counter's name
Tally = dict[Key, int]
PodTallies = Mapping[str, Tally]  # by the pod's name


SERVED_BY: Final = "@"  # between a mismatch's meaning and what ran the models


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of several."""
    found: Tally = {}
    for tally in tallies:
        if not found:
            found = dict(tally)
            continue
        for key, count in tally.items():
            found[key] = found.get(key, 0) + count
    return found


def _both(counter: str) -> tuple[Key, ...]:
    """Both directions of comparison, so that the population is the same at every weight."""
    return (("float", counter), ("int8", counter))


ALL_COMPARED: Final = _both(COMPARED)
ALL_DROPPED: Final = _both(COMPARISONS_DROPPED)


@dataclass(frozen=True)
class Policy:
    """What a user and the operator's settings allow; `beta` is that of the present attempt."""

    mismatch: float
    errors: float
    latency_seconds: float
    divergence: str = ""  # what counts as a mismatch, in a few words; empty: top-1 of the first output
    steps: int = 5
    alpha: float = 0.01
    beta: float = 0.05
    tick_seconds: float = 5.0
    fast_tick_seconds: float = 1.0
    # Shares of requests out of range, and of stretches of them that drifted; 0: the inputs are not watched.
    input_range: float = 0.0
    input_drift: float = 0.0
    escalation: float = 0.0  # share of requests that INT8 may be unsure of; 0: nothing is escalated
    unsure: str = ""  # what counts as that, in a few words
    served: str = ""  # what runs the models, in a word

    def __post_init__(self) -> None:
        for name in ("mismatch", "errors", "alpha", "beta"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}: found {value!r}; allowed: above 0 and below 1")
        for name in ("latency_seconds", "tick_seconds", "fast_tick_seconds", "steps"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name}: found {value!r}; allowed: above 0")
        for name in ("input_range", "input_drift", "escalation"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}: found {value!r}; allowed: 0, or below 1")


@dataclass(frozen=True)
class Gate:
    """One budget: which counts are bad, of which, and how much its evidence weighs in the sum that condemns."""

    name: str
    reading: str  # the name people see; two gates may share one
    weight: float
    budget: float
    limit: float  # what the user set; another value begins this gate anew, and so does another rule
    bad: tuple[Key, ...]
    total: tuple[Key, ...]
    period_seconds: float
    rule: str = ""  # by which an outcome is bad, if the user chose one
    proves: bool = False
    # Over its budget it holds the rollout, and condemns nothing: the artifact was never judged on such inputs.
    may_hold: bool = False
    # Counts of float: a period in which its own share is over the budget says nothing against INT8.
    excuse_bad: tuple[Key, ...] = ()
    excuse_total: tuple[Key, ...] = ()

    @property
    def excuses(self) -> tuple[Key, ...]:
        """What excuses INT8, bad ones and all."""
        return (*self.excuse_bad, *self.excuse_total)

    def asks_as(self, limit: float, rule: str) -> bool:
        """Whether what was gathered under that limit and that rule is evidence of this gate."""
        # Checkpoints of older operators do not say what ran the models, nor what was unsure.
        is_same = rule in (self.rule, self.rule.partition(SERVED_BY)[0]) or (self.may_hold and not rule)
        return self.limit == limit and is_same


def gates_of(policy: Policy) -> tuple[Gate, ...]:
    """The gates whose weighted evidence condemns. Mismatch is tested on all pairs and on distinct inputs."""
    mismatch = Gate(
        name=MISMATCH,
        reading=MISMATCH,
        weight=0.15,
        budget=policy.mismatch,
        limit=policy.mismatch,
        bad=_both(MISMATCHED),
        total=ALL_COMPARED,
        period_seconds=policy.tick_seconds,
        rule=f"{policy.divergence}{SERVED_BY}{policy.served}" if policy.served else policy.divergence,
        proves=True,
    )
    distinct = replace(mismatch, name=DISTINCT, bad=_both(MISMATCHED_DISTINCT), total=_both(COMPARED_DISTINCT))
    errors = replace(fast_gate(policy), name="errors", weight=0.4, period_seconds=policy.tick_seconds)
    latency = Gate(
        name=LATENCY,
        reading="latency",
        weight=0.3,
        budget=LATENCY_SHARE,
        limit=policy.latency_seconds,
        bad=(("int8", OVER_BUDGET),),
        total=(("int8", REQUESTS),),
        period_seconds=LATENCY_BLOCK_SECONDS,
        excuse_bad=(("float", OVER_BUDGET),),
        excuse_total=(("float", REQUESTS),),
    )
    return (mismatch, distinct, errors, latency)


def fast_gate(policy: Policy) -> Gate:
    """The gate that retreats within seconds; it condemns nothing."""
    return Gate(
        name=FAST,
        reading="errors",
        weight=0.0,
        budget=policy.errors,
        limit=policy.errors,
        bad=(("int8", ERRORS),),
        total=(("int8", REQUESTS),),
        period_seconds=policy.fast_tick_seconds,
    )


def holding_gates(policy: Policy) -> tuple[Gate, ...]:
    """The gates of what is watched: requests out of the calibrated range, drifting distributions, unsure answers."""
    watched = (
        ("input-range", policy.input_range, (INPUTS_OUT_OF_RANGE,), INPUTS_CHECKED),
        ("input-drift", policy.input_drift, (INPUT_WINDOWS_DRIFTED,), INPUT_WINDOWS),
        # Escalated or not: the share that INT8 is unsure of, whatever float could take.
        (ESCALATION, policy.escalation, (ESCALATED, ESCALATIONS_REFUSED), REQUESTS),
    )
    return tuple(
        Gate(
            name=name,
            reading=name,
            weight=0.0,
            budget=budget,
            limit=budget,
            bad=tuple(("int8", each) for each in bad),
            total=(("int8", total),),
            period_seconds=policy.tick_seconds,
            rule=policy.unsure if name == ESCALATION else "",
            may_hold=True,
        )
        for name, budget, bad, total in watched
        if budget
    )
