"""Arguments that make sense, and those that do not."""

from typing import Any

import pytest

from quanary.server.settings import Settings
from quanary.wire.launch import ServeArguments


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"variant": "int4"}, "--variant: found 'int4'; allowed: float or int8"),
        ({"digest": "abc"}, "--digest"),
        ({"sample_ratio": 1.5}, "--sample-ratio: found 1.5; allowed: 0 to 1"),
        ({"sample_ratio": float("nan")}, "--sample-ratio"),
        ({"latency_budget_seconds": 0}, "--latency-budget-seconds"),
        ({"deadline_seconds": float("inf")}, "--deadline-seconds"),
        ({"threads": -1}, "--threads"),
        ({"core_watts": -1}, "--core-watts: found -1; allowed: 0 or more"),
        ({"core_hour_price": float("nan")}, "--core-hour-price"),
        ({"max_batch": -1}, "--max-batch"),
        ({"http_port": 0}, "--http-port: found 0; allowed: 1 to 65535"),
        ({"grpc_port": 70000}, "--grpc-port: found 70000; allowed: 1 to 65535, or 0 for none"),
        ({"grpc_port": 9090}, "--metrics-port: found 9090; allowed: a port of its own"),
        ({"twin_url": "ftp://x"}, "--twin-url"),
        ({"twin_url": "http://x:port"}, "--twin-url"),
        ({"critical_header": "x-critical"}, "--critical-header"),
        ({"critical_header": "x critical=1"}, "--critical-header"),
        ({"critical_header": "x-critical=1,2"}, "--critical-header"),
        ({"critical_header": "x-critical=1 "}, "--critical-header"),
    ],
)
def test_nonsense_is_refused_by_flag(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings.of(ServeArguments(model="m.onnx", name="m", **given))


def test_header_names_are_compared_in_lower_case() -> None:
    settings = Settings.of(ServeArguments(model="m.onnx", name="m", critical_header="X-Critical=a=b"))
    assert settings.critical == (b"x-critical", b"a=b")
    assert settings.threads >= 1
