"""Counters in from Prometheus: a few batched queries a tick for all models, and the proofs they advance.

`prometheus` speaks HTTP, `series` writes queries and reads answers, `telemetry` keeps the proofs.
"""

from quanary.controller.telemetry.prometheus import Prometheus
from quanary.controller.telemetry.telemetry import Subject, Telemetry

__all__ = ["Prometheus", "Subject", "Telemetry"]
