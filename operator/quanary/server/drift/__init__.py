"""Inputs against the calibration of the artifact that answers: `baselines` reads what the report holds, `window` judges
stretches of requests, `watch` looks at each request once its answer has left.
"""

from quanary.server.drift.baselines import read_baselines
from quanary.server.drift.watch import DriftCounts, DriftWatch

__all__ = ["DriftCounts", "DriftWatch", "read_baselines"]
