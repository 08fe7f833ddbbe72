"""Settings of the operator, from the environment that the chart renders (`QUANARY_*`)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Self

from quanary.api.quantities import parse_duration


@dataclass(frozen=True)
class Settings:
    """Each field is the environment variable `QUANARY_<FIELD>`; lists are comma-separated."""

    runtime_image: str = "quanary/runtime:0.1.0"
    prometheus_url: str = "http://prometheus.monitoring.svc:9090"
    namespace: str = ""  # watch this one only; all if empty
    own_namespace: str = "quanary-system"  # where the cluster-wide switch lives
    tick: timedelta = timedelta(seconds=5)  # of the slow kernel, that condemns
    fast_tick: timedelta = timedelta(seconds=1)  # of the fast kernel, that retreats; the scrape interval of /gates
    alpha: float = 0.01  # false rollbacks a day, at exactly the budget
    beta: float = 0.05  # false proofs
    resync: timedelta = timedelta(minutes=5)  # full lists that heal what watches lose
    workers: int = 4
    metrics_port: int = 9090
    health_port: int = 8081
    allowed_hosts: tuple[str, ...] = ()  # of model and data URIs, a bucket as s3://name; any if empty
    insecure_hosts: tuple[str, ...] = ()  # may be spoken to without TLS
    allowed_images: tuple[
        str, ...
    ] = ()  # prefixes of runtime.image and runtime.server.image; only the default if empty
    core_watts: float = 0.0  # of a busy core, where the CPU counts no energy; 0: unknown
    core_hour_price: float = 0.0  # 0: unknown
    image_pull_policy: str = "IfNotPresent"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read `QUANARY_*`.

        Raises:
            ValueError: naming the variable, its value and what is allowed.
        """
        values: dict[str, Any] = {}
        for each in fields(cls):
            variable = f"QUANARY_{each.name.upper()}"
            if variable in environment:
                values[each.name] = _read(variable, environment[variable], each.default)
        return cls(**values)


def _read(variable: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, timedelta):
            return parse_duration(text)
        if isinstance(default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return type(default)(text)
    except ValueError as error:
        message = f"{variable}: {text!r} is not allowed: {error}"
        raise ValueError(message) from error
