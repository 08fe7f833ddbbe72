"""What a reconcile may touch, handed to it whole."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quanary.controller.cache import Cache
from quanary.controller.cluster import Cluster
from quanary.controller.metrics import Metrics
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Telemetry


@dataclass(frozen=True)
class World:
    """The API server, what it has shown so far, live evidence, settings and the time."""

    cluster: Cluster
    cache: Cache
    telemetry: Telemetry
    settings: Settings
    clock: Callable[[], datetime]
    metrics: Metrics
