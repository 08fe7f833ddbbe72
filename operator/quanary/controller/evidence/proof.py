"""The proof of one pair of digests: all its gates, from the moment it began."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from quanary.controller.evidence.betting import Safety
from quanary.controller.evidence.bins import Bins, Scrape
from quanary.controller.evidence.checkpoint import Checkpoint, load_watch, save_watch
from quanary.controller.evidence.gates import (
    ALL_COMPARED,
    ALL_DROPPED,
    DISTINCT,
    FAST,
    LATENCY,
    Gate,
    PodTallies,
    Policy,
    fast_gate,
    gates_of,
    holding_gates,
    total,
)
from quanary.controller.evidence.hold import ENDS_AT, Hold
from quanary.controller.evidence.older import OlderPods
from quanary.controller.evidence.reading import Evidence, GateReading
from quanary.controller.evidence.schedule import Schedule
from quanary.controller.evidence.watch import Watch

# The fast kernel takes traffic away for minutes, not for good: a lower bar, a false alarm now and then.
RETREAT_AT: Final = 10.0
# Over how long the share of dropped comparisons is averaged, and from how many on it is told.
DROP_SECONDS: Final = 60.0
DROP_LEAST: Final = 5.0


@dataclass(frozen=True)
class Drops:
    """Comparisons of late, fading with time."""

    at: float = 0.0
    dropped: float = 0.0
    compared: float = 0.0

    def plus(self, at: float, dropped: int, compared: int) -> "Drops":
        """With what a bin that ended at `at` adds."""
        kept = math.exp(-max(at - self.at, 0.0) / DROP_SECONDS)
        return Drops(at, self.dropped * kept + dropped, self.compared * kept + compared)

    @property
    def ratio(self) -> float:
        """Dropped of all; 0 while there are too few to tell."""
        attempts = self.dropped + self.compared
        return self.dropped / attempts if attempts >= DROP_LEAST else 0.0


class Proof:
    """Evidence of one pair of model files. It is a function of the samples, so a replay reproduces it.

    Times are seconds since the epoch. `pair` names both digests; `at` is when it begins: nothing before counts.
    """

    def __init__(self, pair: str, policy: Policy, at: float) -> None:
        self.pair = pair
        self.policy = policy
        self.bins = Bins(policy.fast_tick_seconds, at)
        self.schedule = Schedule(policy.steps)
        self.changed_at = 0.0  # newest weight change
        self.condemned_by = ""
        self.is_proven = False
        self.retreated_at = 0.0
        self.drops = Drops()
        self.older = OlderPods()
        self.watches = {gate.name: self._begin(gate, at) for gate in _gates(policy)}

    def _begin(self, gate: Gate, at: float) -> Watch:
        period = max(1, round(gate.period_seconds / self.policy.fast_tick_seconds))
        safety, hold = Safety() if gate.proves else None, Hold() if gate.may_hold else None
        return Watch(gate, at, period, safety=safety, hold=hold)

    @classmethod
    def restored(cls, pair: str, policy: Policy, text: str, at: float = 0.0) -> Self:
        """Go on where `checkpoint()` was taken; samples up to its time are only bases. What begins anew begins at `at`.

        Raises:
            ValueError: `text` is no checkpoint of this pair.
        """
        saved = Checkpoint.model_validate_json(text)
        if saved.pair != pair:
            raise ValueError(f"checkpoint: found one of {saved.pair!r}; allowed: {pair!r}")
        proof = cls(pair, policy, saved.at)
        proof.schedule = Schedule(policy.steps, saved.changes)
        proof.changed_at, proof.retreated_at = saved.changed, saved.retreated
        proof.condemned_by, proof.is_proven = saved.condemned, saved.proven
        proof.drops = Drops(*saved.drops)
        for name, watch in proof.watches.items():
            kept = saved.watches.get(name)
            if kept is None or not watch.gate.asks_as(kept.limit, kept.rule):
                watch.begun = max(saved.at, at)
                proof._began_anew(watch, kept.hold.since if kept and kept.hold else 0.0)
            else:
                load_watch(kept, watch, proof.bins.width)
        return proof

    def checkpoint(self) -> str:
        """Everything up to the last closed bin, as JSON of less than 8,192 bytes."""
        return Checkpoint(
            pair=self.pair,
            at=self.bins.closed_at,
            changed=self.changed_at,
            changes=self.schedule.changes,
            condemned=self.condemned_by,
            proven=self.is_proven,
            retreated=self.retreated_at,
            drops=(self.drops.at, self.drops.dropped, self.drops.compared),
            watches={name: save_watch(watch, self.bins.width) for name, watch in self.watches.items()},
        ).model_dump_json(exclude_none=True)

    def revise(self, policy: Policy) -> None:
        """Go on under a changed policy: gates of another limit or rule begin anew, the others keep what they have.

        A hold goes on: only evidence ends it. A gate that is not watched any more is forgotten.
        """
        self.policy = policy
        self.older.forget()
        self.schedule = Schedule(policy.steps, self.schedule.changes)
        known, self.watches = self.watches, {}
        for gate in _gates(policy):
            old, new = known.get(gate.name), self._begin(gate, self.bins.closed_at)
            if old is None or not gate.asks_as(old.gate.limit, old.gate.rule):
                self._began_anew(new, old.hold.since if old and old.hold else 0.0)
            else:
                old.gate, old.period_bins, new = gate, new.period_bins, old
            self.watches[gate.name] = new

    def _began_anew(self, watch: Watch, held_since: float) -> None:
        gate = watch.gate
        self.is_proven = self.is_proven and not gate.proves
        if self.condemned_by == gate.reading:
            self.condemned_by = ""
        if gate.name == FAST:
            self.retreated_at = 0.0
        if watch.hold:
            watch.hold.since = held_since

    def note_pods(self, outdated: Mapping[str, frozenset[str]]) -> None:
        """By pod of the pair, which readings it counts by an older spec, and whether it answers by one."""
        self.older.note(outdated, self.bins.pods)

    def weight_changed(self, at: float, *, raised: bool) -> None:
        """The artifact's share changed. A raise is a likely moment for a fault: it draws on the daily allowance."""
        if at <= self.changed_at:
            return
        self.changed_at = at
        if raised:
            self.schedule = self.schedule.with_change(at)

    def advance(self, scrapes: Iterable[Scrape]) -> None:
        """Take in samples; those already known are passed over. Any split of a history gives the same result."""
        unseen = self.bins.unseen(scrapes)
        if unseen and self.bins.is_hole(unseen[0].at):
            self._bridge(unseen[0].at)
        for scrape in unseen:
            self.bins.add(scrape)
        for index, tallies in self.bins.close():
            # Whatever period ended before this bin is judged first: in the order of time.
            self._settle_through(index - 1)
            self._add(index, tallies)
        self._settle_through(self.bins.closed)

    def _bridge(self, origin: float) -> None:
        # What happened meanwhile is lost. Evidence against stays; evidence for does not outlive it.
        self.bins.restart(origin)
        for watch in self.watches.values():
            if watch.safety:
                watch.safety.forgo()
            if watch.hold:
                watch.hold.normal.forgo()

    def _add(self, index: int, tallies: PodTallies) -> None:
        tally = total(tallies.values())
        dropped = sum(tally.get(key, 0) for key in ALL_DROPPED)
        compared = sum(tally.get(key, 0) for key in ALL_COMPARED)
        if dropped or compared:
            self.drops = self.drops.plus(index * self.bins.width, dropped, compared)
        end = index * self.bins.width
        passed_over = self.older.passed_over(tallies, end, self.bins.pods)
        for watch in self.watches.values():
            without = passed_over.get(watch.gate.reading)
            if without is None:
                watch.add(index, tally)
            else:
                kept = total(each for pod, each in tallies.items() if pod not in without)
                # What excuses INT8 is what float suffers in the same moment, by whichever spec.
                excuses = {key: tally[key] for key in watch.gate.excuses if key in tally}
                watch.add(index, {**kept, **excuses})
                watch.wait_for_outcomes(end, tally)

    def _settle_through(self, index: int) -> None:
        watches = self.watches.values()
        while due := min((each.until for each in watches if 0 < each.until <= index), default=0):
            end = due * self.bins.width
            for watch in watches:
                if watch.until == due:
                    watch.settle(end, self.schedule, self.policy.beta, self.changed_at)
            self._judge(end)

    def _judge(self, end: float) -> None:
        fast = self.watches[FAST].breach
        if fast.value >= RETREAT_AT:
            self.retreated_at = end
            fast.spend()
        for watch in self.watches.values():
            if watch.hold:
                watch.hold.judge(end, watch.breach, 1 / self.policy.alpha)
        if not self.condemned_by and self._sum() >= 1 / self.policy.alpha:
            contributions = self._contributions()
            self.condemned_by = max(contributions, key=contributions.__getitem__)
        if all(each.best >= 1 / self.policy.beta for each in self._safeties()):
            self.is_proven = True

    def _safeties(self) -> list[Safety]:
        return [each.safety for each in self.watches.values() if each.safety]

    def _sum(self) -> float:
        return math.fsum(each.contribution() for each in self.watches.values())

    def _contributions(self) -> Mapping[str, float]:
        """Parts of the sum that condemns, by the gate's reading."""
        parts: dict[str, float] = {}
        for watch in self.watches.values():
            parts[watch.gate.reading] = parts.get(watch.gate.reading, 0.0) + watch.contribution()
        return parts

    def read(self, now: float) -> Evidence:
        """What it says at `now`, the time of the newest successful query; without `checkpoint`, which costs more."""
        proving = [each for each in self.watches.values() if each.safety]
        return Evidence(
            gates=tuple(self._reading(name, part) for name, part in self._contributions().items()),
            condemned_by=self.condemned_by,
            suspicious=self._sum() >= self.policy.alpha**-0.5,
            retreat_by=self.watches[FAST].gate.reading if self.retreated_at > self.changed_at else "",
            proven=self.is_proven,
            begun=max(each.begun for each in self.watches.values()),
            safe_now=all(each.value >= 1 / self.policy.beta for each in self._safeties()),
            fresh_safe=all(each.fresh(self.changed_at) >= 1 for each in proving),
            compared_distinct=self.watches[DISTINCT].samples,
            dropped_ratio=self.drops.ratio,
            float_silent=self.bins.is_silent("float", now),
            int8_silent=self.bins.is_silent("int8", now),
            float_slow=self.watches[LATENCY].is_excused,
        )

    def _reading(self, name: str, contribution: float) -> GateReading:
        watches = [each for each in self.watches.values() if each.gate.reading == name]
        first = watches[0]
        recent_bad, recent_samples = first.recent_counts()
        return GateReading(
            name,
            first.samples,
            first.bad,
            first.gate.budget,
            rollback_evidence=_progress(contribution, 1 / self.policy.alpha),
            safety_evidence=self._safety_evidence(watches),
            recent_samples=recent_samples,
            recent_bad=recent_bad,
            holds=first.holds,
        )

    def _safety_evidence(self, watches: Sequence[Watch]) -> float:
        hold = watches[0].hold
        if hold and hold.since:
            return _progress(hold.normal.value, ENDS_AT)
        best = min((each.safety.best for each in watches if each.safety), default=1.0)
        return _progress(best, 1 / self.policy.beta)


def _gates(policy: Policy) -> tuple[Gate, ...]:
    return (*gates_of(policy), fast_gate(policy), *holding_gates(policy))


def _progress(value: float, goal: float) -> float:
    """How far `value` is on the way from 1 to `goal`, in logarithms."""
    return min(max(math.log(max(value, 1.0)) / math.log(goal), 0.0), 1.0)
