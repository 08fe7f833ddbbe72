"""One gate of one pair: counts are gathered over its period, then bet on."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from quanary.controller.evidence.betting import Breach, Safety
from quanary.controller.evidence.gates import Gate, Key, Tally
from quanary.controller.evidence.hold import Hold
from quanary.controller.evidence.schedule import Schedule

# In multiples of 1/beta. A proof without a ceiling would take hours of a bad present to forget a good past.
SAFETY_CEILING: Final = 100.0
# What people are told of: totals since the beginning would hide what happens now. Not part of the evidence.
RECENT_SECONDS: Final = 60.0


def _sum(tally: Tally, keys: Iterable[Key]) -> int:
    return sum(tally.get(key, 0) for key in keys)


@dataclass
class Watch:
    """What a gate has gathered since it began."""

    gate: Gate
    begun: float
    period_bins: int
    paid_until: float = 0.0  # up to when prior mass was handed out; 0: none was
    samples: int = 0
    bad: int = 0
    until: int = 0  # index of the bin that ends the period being gathered; 0: none is
    pending: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # bad and all, then float's bad and all
    is_excused: bool = False  # the newest period was not bet on: float was over the budget too
    breach: Breach = field(default_factory=Breach)
    safety: Safety | None = None
    hold: Hold | None = None
    recent: deque[tuple[float, int, int]] = field(default_factory=deque, compare=False)  # end, bad, all

    def add(self, index: int, tally: Tally) -> None:
        """Gather a closed bin. The period before it must be settled."""
        gate = self.gate
        counts = [_sum(tally, keys) for keys in (gate.bad, gate.total, gate.excuse_bad, gate.excuse_total)]
        if any(counts):
            self.until = -(-index // self.period_bins) * self.period_bins
            self.pending = [old + new for old, new in zip(self.pending, counts, strict=True)]

    def wait_for_outcomes(self, end: float, passed_over: Tally) -> None:
        """Until it has its first outcome it begins anew with every bin whose outcomes were counted by an older spec."""
        _, outcomes, _, _ = self.pending
        if not (self.samples or outcomes) and _sum(passed_over, self.gate.total):
            self.begun = max(self.begun, end)

    def settle(self, end: float, schedule: Schedule, beta: float, changed_at: float) -> None:
        """Bet on the period that ended at `end`. Periods without outcomes need no call: their mass comes along."""
        k, n, float_bad, float_all = self.pending
        k = min(k, n)
        self.pending, self.until = [0, 0, 0, 0], 0
        self.samples += n
        self.bad += k
        self.recent.append((end, k, n))
        while self.recent[0][0] <= end - RECENT_SECONDS:
            self.recent.popleft()
        self.is_excused = bool(float_all) and float_bad > self.gate.budget * float_all
        mass = schedule.released(self.begun, end)
        if self.paid_until:
            mass -= schedule.released(self.begun, self.paid_until)
        self.paid_until = end
        if self.hold and self.holds:
            self.hold.bet(k, n, self.gate.budget)
        else:
            self.breach.bet(k, 0 if self.is_excused else n, self.gate.budget, mass)
        if self.safety:
            is_changed = self.safety.fresh_since < changed_at <= end
            if is_changed and changed_at <= end - self.gate.period_seconds:
                self.safety.begin_fresh(changed_at)
            self.safety.bet(k, n, self.gate.budget, SAFETY_CEILING / beta)
            # The tick in which the weight changed mixes both: what is fresh begins after it.
            if is_changed and changed_at > end - self.gate.period_seconds:
                self.safety.begin_fresh(changed_at)

    def recent_counts(self) -> tuple[int, int]:
        """Bad ones of all in the last minute."""
        return sum(bad for _, bad, _ in self.recent), sum(samples for _, _, samples in self.recent)

    @property
    def holds(self) -> bool:
        """Whether it keeps the rollout where it is."""
        return self.hold is not None and self.hold.since > 0

    def contribution(self) -> float:
        """Its part of the sum that condemns."""
        return self.gate.weight * self.breach.value

    def fresh(self, changed_at: float) -> float:
        """D begun at the newest weight change."""
        if self.safety is None or changed_at > self.safety.fresh_since:
            return 1.0
        return sum(self.safety.fresh)
