"""Calibration: what activations and inputs look like on real samples, streamed, robust to one wild sample, cached."""

from quanary.quantizer.calibrate.calibration import Calibration, calibrate
from quanary.quantizer.calibrate.drift import judge_held_out

__all__ = ["Calibration", "calibrate", "judge_held_out"]
