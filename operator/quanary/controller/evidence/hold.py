"""Whether a gate holds the rollout: from evidence that its rate is over the budget to evidence that it is within.

Both are e-processes, so that neither chance nor a rate near the budget makes it flap: the limit of the first is the
kernel's 1/alpha, and what ends a hold begins with it and never falls below 1, as a CUSUM, for what was bad long ago
must not outweigh what is good now.
"""

from dataclasses import dataclass, field
from typing import Final

from quanary.controller.evidence.betting import Breach, Safety

# D at which a hold ends. Ended by mistake it is begun again by the next evidence, so the bar may be low: with nothing
# bad it takes 2.6 / budget periods of many outcomes, or 4 / budget of one.
ENDS_AT: Final = 10.0


@dataclass
class Hold:
    """`since` is in seconds since the epoch; 0: it does not hold."""

    since: float = 0.0
    normal: Safety = field(default_factory=Safety)

    def bet(self, k: int, n: int, budget: float) -> None:
        """One period of a hold."""
        self.normal.bet(k, n, budget, ENDS_AT)
        if self.normal.value < 1:
            self.normal = Safety()

    def judge(self, end: float, breach: Breach, limit: float) -> None:
        """Begin or end at `end`, where evidence says so."""
        if not self.since and breach.value >= limit:
            self.since, self.normal = end, Safety()
            breach.spend()
        elif self.since and self.normal.value >= ENDS_AT:
            self.since = 0.0
