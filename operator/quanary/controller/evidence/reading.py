"""What decisions read: the contract between the kernel and the rules."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class GateReading:
    """What one gate has gathered; evidence on a scale where 1 decides."""

    name: str
    samples: int
    bad: int
    budget: float
    rollback_evidence: float  # ln(w * M) / ln(1/alpha), clipped to 0..1; w is the gate's weight in the sum
    # ln(best D) / ln(1/beta), clipped to 0..1; of a gate that holds, how far it is to the end of that; else 0.
    safety_evidence: float
    # Of the last minute, for people; lost in a restart.
    recent_samples: int = field(default=0, compare=False)
    recent_bad: int = field(default=0, compare=False)
    holds: bool = False  # it keeps the rollout where it is; a gate that may hold never rolls back

    @property
    def sentence(self) -> str:
        """The gate, its last minute, and all that it has seen."""
        if not self.samples:
            return self.name
        recent = f"{self.recent_bad} of {self.recent_samples} bad in the last minute, " if self.recent_samples else ""
        return f"{self.name}: {recent}{self.bad} of {self.samples} in all, budget {self.budget:.1%}"


@dataclass(frozen=True)
class Evidence:
    """What live traffic says of one candidate (or stable artifact) against float, judged by the kernel."""

    gates: tuple[GateReading, ...]
    condemned_by: str = ""  # the gate that names the reason, once the weighted sum of M reached 1/alpha (latched)
    suspicious: bool = False  # that sum is half-way (M >= 1/sqrt(alpha)): never advance
    retreat_by: str = ""  # the fast kernel fired on this gate since the newest weight change
    proven: bool = False  # mismatch proven within budget once (latched)
    begun: float = 0.0  # when the youngest gate did: it knows nothing of before; seconds since the epoch
    safe_now: bool = False  # its present D is still >= 1/beta
    fresh_safe: bool = False  # D begun at the newest weight change is >= 1
    compared_distinct: int = 0
    dropped_ratio: float = 0.0
    prometheus_gone: bool = False  # no successful query lately
    float_silent: bool = False  # float's samples are stale, or there are none
    int8_silent: bool = False  # the artifact's samples are stale, or there are none
    float_slow: bool = False  # float's own share over the latency budget is above it: INT8 is not to blame
    checkpoint: str = ""
    p99_seconds: float | None = None  # for people

    @property
    def holding(self) -> tuple[GateReading, ...]:
        """The gates of the inputs that keep the rollout where it is."""
        return tuple(each for each in self.gates if each.holds)
