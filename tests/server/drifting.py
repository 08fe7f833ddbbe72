"""Inputs against calibration, for tests: real baselines, a watch on a clock of its own, and what it counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quanary.quantizer.calibrate import judge_held_out
from quanary.quantizer.calibrate.drift import InputValues, baselines_of, pick
from quanary.quantizer.data import Sample
from quanary.server.data_plane import Inference
from quanary.server.drift import DriftCounts, DriftWatch
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.wire import metrics as names
from quanary.wire.inference import TensorMetadata
from quanary.wire.report import DriftBaseline, Report
from tests.quantizer.report.reports import minimal

Feed = Mapping[str, NDArray[Any]]
DATATYPES = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64"}


def baselines_from(
    feeds: Sequence[Feed], held_out: Sequence[Feed] = (), groups: Sequence[bytes] = ()
) -> tuple[DriftBaseline, ...]:
    """As the quantizer makes them: from calibration, with budgets by samples that were held out."""
    values = InputValues.of([pick(feed, number) for number, feed in enumerate(feeds)])
    found = baselines_of(values, np.ones(len(feeds), bool), groups or [None] * len(feeds))
    return judge_held_out(found, [Sample("held", number, dict(feed), None) for number, feed in enumerate(held_out)])


def signature_of(feed: Feed) -> Signature:
    """Of a model that takes such inputs in batches."""
    inputs = (
        TensorMetadata(name, DATATYPES.get(array.dtype.name, "BYTES"), (-1, *array.shape[1:]))
        for name, array in feed.items()
    )
    return Signature(tuple(inputs), ())


def report_of(digest: str, baselines: tuple[DriftBaseline, ...]) -> Report:
    """Of the artifact with that digest."""
    report = minimal()
    artifact = report.artifact.model_copy(update={"sha256": digest})
    return report.model_copy(update={"artifact": artifact, "drift": baselines})


def write_report(path: Path, digest: str, baselines: tuple[DriftBaseline, ...]) -> Path:
    path.write_text(report_of(digest, baselines).to_json())
    return path


def inference(feed: Feed) -> Inference:
    return Inference(feed, {}, {}, 0.0)


@dataclass
class Watched:
    """A watch whose time is what the test says."""

    baselines: tuple[DriftBaseline, ...]
    feed: Feed  # any, for the signature
    seed: int = 1
    now: float = 0.0
    metrics: Metrics = field(default_factory=lambda: Metrics(0.1, 1.0))

    def __post_init__(self) -> None:
        counts = DriftCounts(self.metrics, [each.input for each in self.baselines])
        signature = signature_of(self.feed)
        self.watch = DriftWatch(self.baselines, signature, counts, clock=lambda: self.now, seed=self.seed)

    def see(self, feed: Feed, seconds: float = 1.0) -> None:
        """One request, so long after the one before."""
        self.now += seconds
        self.watch.see(inference(feed))

    def counts(self) -> dict[str, int]:
        """The controller's counters."""
        wanted = (names.INPUTS_CHECKED, names.INPUTS_OUT_OF_RANGE, names.INPUT_WINDOWS, names.INPUT_WINDOWS_DRIFTED)
        return {name: int(self.metrics.gates.get_sample_value(name) or 0) for name in wanted}

    def of_input(self, name: str, which: str) -> float:
        """A series for people."""
        return self.metrics.people.get_sample_value(name, {names.INPUT_LABEL: which}) or 0.0
