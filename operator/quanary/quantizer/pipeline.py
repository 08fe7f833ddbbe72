"""The steps of one run, in order, and the report they add up to."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import onnx

from quanary.api.v1alpha1 import Verdict
from quanary.artifacts.publish import publish
from quanary.artifacts.verify import digest_of
from quanary.quantizer.benefit import measure
from quanary.quantizer.calibrate import activations_of, collect
from quanary.quantizer.certify import compare, judge, sign_off
from quanary.quantizer.data import DataSet, Sample
from quanary.quantizer.inference import Model, open_model
from quanary.quantizer.inputs import Inputs, check_arguments, gather, threads_of
from quanary.quantizer.machine import cpu_features, tool_versions
from quanary.quantizer.normalize import normalize
from quanary.quantizer.progress import Progress
from quanary.quantizer.quantize import SETTINGS, choose_nodes, quantize
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import ArtifactFigures, DataFigures, GraphFigures, ModelIdentity, Report, Settings

ARTIFACT_FILE: Final = "model-int8.onnx"
REPORT_FILE: Final = "report.json"
# Only these are worth pulling: everything else is named by its digest alone.
PUBLISHED: Final = frozenset({Verdict.BENEFICIAL, Verdict.NOT_BENEFICIAL})

_EQUALITY_SAMPLES, _BENEFIT_SAMPLES = 16, 32


@dataclass(frozen=True)
class Outcome:
    """A judged artifact; `uri` is empty if it was not published."""

    report: Report
    report_sha256: str
    uri: str


@dataclass(frozen=True)
class Made:
    """An INT8 model, and what is known of its making."""

    model: Model
    graph: GraphFigures | None
    calibration: DataFigures | None
    calibrated_on: frozenset[bytes]


@dataclass
class Overlap:
    """Passes sealed samples on, and counts those that calibration used."""

    calibrated_on: frozenset[bytes]
    count: int = 0

    def watch(self, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The samples, unchanged."""
        for sample in samples:
            self.count += bool(self.calibrated_on) and sample.digest in self.calibrated_on
            yield sample


def run(arguments: QuantizeArguments, work: Path) -> Outcome:
    """Fetch, make or take, certify, measure, write, publish.

    Raises:
        RefusedError: something a person must change.
        UnreachableError: something that may work later.
    """
    check_arguments(arguments)
    steps = 4 + (0 if arguments.provided else 3) + bool(arguments.publish)
    progress = Progress(steps)
    progress.step("fetch, verify and check model and data")
    inputs = gather(arguments, work)
    made = _take(inputs, progress) if inputs.provided else _make(arguments, inputs, work, progress)
    report = _judge(arguments, inputs, made, progress)
    out = Path(arguments.out)
    progress.step(f"write {out / REPORT_FILE} and {out / ARTIFACT_FILE}")
    _move(made.model.path, out / ARTIFACT_FILE, work)
    (work / REPORT_FILE).write_text(report.to_json())
    (work / REPORT_FILE).replace(out / REPORT_FILE)
    uri = _publish(arguments, report, progress) if arguments.publish else ""
    return Outcome(report, digest_of(out / REPORT_FILE), uri)


def _take(inputs: Inputs, progress: Progress) -> Made:
    assert inputs.provided is not None
    progress.note(f"judging the INT8 model that was brought along; {inputs.validation.samples} sealed samples")
    return Made(inputs.provided, None, None, frozenset())


def _make(arguments: QuantizeArguments, inputs: Inputs, work: Path, progress: Progress) -> Made:
    data = inputs.calibration
    assert data is not None
    progress.step("normalise the graph and prove it equal on real samples")
    normalized = normalize(inputs.model, work, list(data.read(_EQUALITY_SAMPLES)))
    progress.note("; ".join(normalized.steps) + f"; largest difference {normalized.largest_difference:.2g}")
    graph = onnx.load(normalized.path)
    nodes = choose_nodes(graph, arguments.keep_float)
    tensors = activations_of(graph, frozenset(nodes.quantized))
    used = min(arguments.samples, data.samples)
    progress.step(f"calibrate {len(tensors)} tensors on {used} of {data.samples} samples")
    ranges = collect(graph, tensors, data, arguments.samples, work)
    progress.step(f"quantize {len(nodes.quantized)} compute nodes, keep {len(nodes.kept_float)} in float")
    artifact = quantize(normalized.path, nodes, ranges, work)
    figures = GraphFigures(
        opset_found=normalized.opset_found,
        opset=normalized.opset,
        steps=normalized.steps,
        largest_difference=normalized.largest_difference,
        quantized_nodes=nodes.quantized,
        kept_float_nodes=nodes.kept_float,
        core_nodes_in_subgraphs=normalized.core_in_subgraphs,
    )
    int8 = open_model(artifact, "spec.model.uri", threads_of(arguments))
    return Made(int8, figures, _figures(data, used), frozenset(ranges.samples))


def _judge(arguments: QuantizeArguments, inputs: Inputs, made: Made, progress: Progress) -> Report:
    sealed, threads = inputs.validation, threads_of(arguments)
    progress.step(f"certify {arguments.metric} on {sealed.samples} sealed samples")
    overlap = Overlap(made.calibrated_on)
    samples = progress.watch(overlap.watch(sealed.read()), sealed.samples)
    table = compare(inputs.model, made.model, samples, arguments.metric)
    signoff = sign_off(table, arguments.max_drop, arguments.confidence)
    if overlap.count:
        progress.note(f"warning: {overlap.count} sealed samples were calibrated on; the certificate says less for it")
    progress.step(f"measure speed with {threads} {'thread' if threads == 1 else 'threads'}")
    feeds = [sample.feed for sample in sealed.read(_BENEFIT_SAMPLES)]
    benefit = measure(inputs.model.path, made.model.path, feeds, threads, arguments.min_speedup)
    verdict, because = judge(signoff, benefit.latency_ratio, arguments.min_speedup)
    artifact = ArtifactFigures(
        file=ARTIFACT_FILE,
        sha256=digest_of(made.model.path),
        size_ratio=made.model.path.stat().st_size / inputs.model.path.stat().st_size,
        latency_ratio=benefit.latency_ratio,
    )
    return Report(
        verdict=verdict,
        because=because,
        artifact=artifact,
        signoff=signoff,
        model=ModelIdentity(sha256=inputs.model_sha256),
        benefit=benefit,
        calibration=made.calibration,
        validation=_figures(sealed, sealed.samples),
        samples_in_both=overlap.count,
        graph=made.graph,
        settings=_settings(arguments),
        seeds={},
        tools=tool_versions(),
        cpu_features=cpu_features(),
        created=datetime.now(UTC),
    )


def _settings(arguments: QuantizeArguments) -> Settings:
    judged: Settings = {
        "metric": arguments.metric,
        "maxDrop": arguments.max_drop,
        "confidence": arguments.confidence,
        "minSpeedup": arguments.min_speedup,
    }
    if arguments.provided:
        return {"strategy": "Provided", **judged}
    made: Settings = {"samples": arguments.samples, "keepFloat": arguments.keep_float, "selection": "evenly spaced"}
    return {"strategy": "Static"} | SETTINGS | made | judged


def _figures(data: DataSet, used: int) -> DataFigures:
    return DataFigures(sha256=data.sha256, shards=len(data.counts), samples=data.samples, used=used)


def _move(artifact: Path, to: Path, work: Path) -> None:
    """Into place in one rename; a provided artifact stays where it was brought from."""
    whole = work / f"whole-{ARTIFACT_FILE}"
    shutil.copyfile(artifact, whole)
    whole.replace(to)


def _publish(arguments: QuantizeArguments, report: Report, progress: Progress) -> str:
    if report.verdict not in PUBLISHED:
        progress.step(f"not published: {report.verdict}")
        return ""
    progress.step(f"publish to {arguments.publish}")
    out = Path(arguments.out)
    return publish(
        out / ARTIFACT_FILE,
        out / REPORT_FILE,
        arguments.publish,
        sha256=report.artifact.sha256,
        field="spec.artifacts.repository",
        insecure_hosts=frozenset(arguments.insecure_host),
    )
