"""How prior mass is spread over the time of a fault: it comes with the artifact, with a new weight, or at any time.

Mass is released at a fixed rate and never taken back, so P(false condemnation by T) <= alpha * mass(T), and mass grows
by at most one a day.
"""

import math
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86400.0
MASS_AT_START: Final = 0.1
MASS_A_DAY: Final = 0.3
MASS_OF_CHANGES: Final = 0.6
CHANGE_SCALE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Schedule:
    """When prior mass is released: weight changes draw on a daily allowance of `steps` equal shares."""

    steps: int
    changes: tuple[float, ...] = ()  # times of funded weight changes, ascending

    def with_change(self, at: float) -> "Schedule":
        """Fund a change, unless the allowance of the last 24 hours is spent."""
        recent = [each for each in self.changes if at - each < DAY_SECONDS]
        if len(recent) >= self.steps:
            return self
        return Schedule(self.steps, (*self.changes[-2 * self.steps :], at))

    def released(self, begun: float, at: float) -> float:
        """Cumulative mass from `begun` to `at`, in seconds since the epoch."""
        mass = MASS_AT_START + MASS_A_DAY * max(at - begun, 0.0) / DAY_SECONDS
        for change in self.changes:
            if begun <= change < at:
                share = 1 - 1 / math.log(math.e + (at - change) / CHANGE_SCALE_SECONDS)
                mass += MASS_OF_CHANGES / self.steps * share
        return mass
