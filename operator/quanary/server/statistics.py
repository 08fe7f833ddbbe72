"""What happened so far, as `GET /v2/models/NAME/stats` tells it. No transport."""

import time
from dataclasses import dataclass, field


@dataclass
class Tally:
    """How often, and how long altogether."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.seconds += seconds


@dataclass
class Statistics:
    """Inference requests of users since the start."""

    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    execution: Tally = field(default_factory=Tally)  # the model alone, of those that succeeded
    last_inference_seconds: float = 0.0  # since the epoch; 0: none yet

    def count(self, latency_seconds: float, execution_seconds: float | None) -> None:
        """One outcome; without an execution it failed."""
        if execution_seconds is None:
            self.fail.add(latency_seconds)
            return
        success, execution = self.success, self.execution
        success.count += 1
        success.seconds += latency_seconds
        execution.count += 1
        execution.seconds += execution_seconds
        self.last_inference_seconds = time.time()
