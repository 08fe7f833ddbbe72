"""How much memory calibration takes: `python -m quanary.quantizer.calibrate.memory MODEL DATA SAMPLES` prints bytes."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

import quanary
from quanary.quantizer.calibrate.calibration import calibrate
from quanary.quantizer.data import open_data
from quanary.quantizer.inference import open_model
from quanary.quantizer.recipe import Method


def peak_bytes(model: Path, data: Path, samples: int) -> int:
    """Peak resident size of a fresh process that calibrates every tensor of `model` by both passes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", __name__, str(model), str(data), str(samples)]
    environment = os.environ | {"PYTHONPATH": str(Path(quanary.__file__).parents[1])}
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)  # noqa: S603  our own interpreter
    return int(run.stdout)


def _calibrate(model: Path, path: Path, samples: int) -> None:
    graph = onnx.load(model)
    tensors = tuple(name for node in graph.graph.node for name in node.output if name)
    inputs = open_model(model, "spec.model.uri").inputs
    data = open_data(path, "", "spec.quantization.calibration.data", inputs)
    with tempfile.TemporaryDirectory() as work:
        found = calibrate(graph, tensors, data, samples, Path(work), cache=None, model_sha256="")
        found.bounds(Method.MEAN_SQUARED_ERROR)


def _own_peak_bytes() -> int:
    """Not ru_maxrss: a child takes over its parent's of the moment it was born."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    _calibrate(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    print(_own_peak_bytes())
