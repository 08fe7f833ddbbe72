"""What the demo found, as out/demo.json, and whether that is a success. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

LEAST_REQUESTS: Final = 5000


@dataclass(frozen=True)
class BadArtifact:
    """An artifact that must never get traffic. `max_weight` in percent."""

    stage: str
    reason: str
    max_weight: float


@dataclass(frozen=True)
class Rollback:
    """An artifact that turned bad while it carried traffic. Seconds; None: it never happened."""

    fault: str
    reason: str
    first_bad_answer_to_weight_zero_seconds: float | None
    decided_to_weight_zero_seconds: float | None
    condemned: bool
    scrape_seconds: float


@dataclass(frozen=True)
class Requests:
    """Counts over the whole load."""

    sent: int
    failed: int
    injected: int


@dataclass(frozen=True)
class Outcome:
    """Everything. `weights_seen` in percent, in order."""

    setup_seconds: float
    promoted: bool
    weights_seen: tuple[float, ...]
    bad_artifacts: tuple[BadArtifact, ...]
    rollbacks: tuple[Rollback, ...]
    requests: Requests

    def to_json(self) -> Mapping[str, Any]:
        """For out/demo.json."""
        return asdict(self)

    def failures(self) -> list[str]:
        """What went otherwise than promised; empty if nothing did."""
        found = []
        if not self.promoted:
            found.append("the good artifact was not promoted")
        found += [
            f"a bad artifact got {each.max_weight:g} % of the traffic" for each in self.bad_artifacts if each.max_weight
        ]
        if len(self.bad_artifacts) < 2:
            found.append(f"{len(self.bad_artifacts)} of 2 bad artifacts were judged")
        found += [
            f"fault {each.fault}: the weight never went to 0"
            for each in self.rollbacks
            if each.first_bad_answer_to_weight_zero_seconds is None
        ]
        if self.requests.failed:
            found.append(f"{self.requests.failed} requests failed")
        if self.requests.sent < LEAST_REQUESTS:
            found.append(f"{self.requests.sent} requests were sent; at least {LEAST_REQUESTS} must be")
        return found
