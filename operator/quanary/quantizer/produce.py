"""From a float model and data to a front of INT8 candidates: normalise, split, calibrate, search."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import onnx

from quanary.quantizer.calibrate import Calibration, calibrate, judge_held_out
from quanary.quantizer.data import DataSet, Split, split
from quanary.quantizer.graph import Normalized, normalize
from quanary.quantizer.inference import open_model
from quanary.quantizer.inputs import Inputs
from quanary.quantizer.machine import threads_of
from quanary.quantizer.made import Candidate, Made
from quanary.quantizer.making import choose_for, tensors_for
from quanary.quantizer.progress import Progress
from quanary.quantizer.recipe import Approach, Recipe, Scope
from quanary.quantizer.search import Found, Subject, Trial, search
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import CalibrationFigures, DataFigures, GraphFigures, SearchFigures, TensorFigures

CACHE_FOLDER: Final = ".cache"
_EQUALITY_SAMPLES: Final = 8
# 16-bit activations need the operators of opset 21.
_WIDE_OPSET: Final = 21


@dataclass(frozen=True)
class Prepared:
    """All that a search starts from."""

    normalized: Normalized
    parts: Split
    calibration: Calibration
    cache: Path


def produce(arguments: QuantizeArguments, inputs: Inputs, work: Path, progress: Progress) -> Made:
    """The front, made and judged on tuning samples; the sealed data are not touched.

    Raises:
        RefusedError: the model or the data do not allow it; see each step.
    """
    prepared = _prepare(arguments, inputs, work, progress)
    progress.step(
        f"search within {arguments.max_drop:g} of {arguments.metric}, at most {arguments.max_evaluations} tries"
    )
    found = _search(arguments, inputs, prepared, work, progress)
    if found.metric != inputs.metric.name:
        progress.note(f"calibration data have no label: candidates were judged by {found.metric}")
    for each in found.front:
        progress.note(f"{each.role}: {each.recipe.text}; drop {each.drop:.4f}, {each.speedup:.2f} times as fast")
    tuning, calibration = prepared.parts.tuning, prepared.calibration
    return Made(
        front=tuple(_candidate(each, prepared, threads_of(arguments)) for each in found.front),
        calibration=_calibration_figures(inputs, prepared, found),
        search=_search_figures(arguments, prepared, found),
        gap=found.gap,
        drift=judge_held_out(calibration.baselines, tuning.read()),
        seeds=dict(calibration.seeds) | found.seeds,
        samples_in_both=prepared.parts.sealed,
        warnings=(*calibration.warnings, *found.warnings),
    )


def _prepare(arguments: QuantizeArguments, inputs: Inputs, work: Path, progress: Progress) -> Prepared:
    data = inputs.calibration
    assert data is not None
    progress.step("normalise the graph and prove it equal on real samples")
    parts = split(data, arguments.samples, inputs.sealed.samples, inputs.sealed.group_names)
    normalized = normalize(inputs.model, work, list(parts.calibration.read(_EQUALITY_SAMPLES)))
    progress.note("; ".join(normalized.steps) + f"; largest difference {normalized.largest_difference:.2g}")
    if parts.sealed:
        progress.note(f"{parts.sealed} calibration samples are in the sealed data too: left out")
    graph = onnx.load(normalized.path)
    # A misspelt pattern is refused before the long part begins.
    choose_for(graph, Recipe(kept_float=arguments.keep_float))
    tensors = tensors_for(graph, Scope.ALL)
    used = parts.calibration.samples
    progress.step(f"calibrate {len(tensors)} tensors on {used} samples; {parts.tuning.samples} others tune")
    cache_folder = Path(arguments.cache) if arguments.cache else Path(arguments.out) / CACHE_FOLDER
    calibration = calibrate(
        graph,
        tensors,
        parts.calibration,
        used,
        work,
        cache=cache_folder,
        model_sha256=inputs.model_sha256,
        progress=progress,
        threads=threads_of(arguments),
    )
    return Prepared(normalized, parts, calibration, cache_folder)


def _search(arguments: QuantizeArguments, inputs: Inputs, prepared: Prepared, work: Path, progress: Progress) -> Found:
    @cache
    def wide() -> Path:
        folder = work / "wide"
        folder.mkdir(exist_ok=True)
        samples = list(prepared.parts.calibration.read(_EQUALITY_SAMPLES))
        return normalize(inputs.model, folder, samples, _WIDE_OPSET).path

    subject = Subject(
        model=inputs.model,
        normalized=prepared.normalized.path,
        wide=wide,
        bounds=prepared.calibration.bounds,
        tuning=prepared.parts.tuning,
        key=f"{prepared.normalized.sha256} {prepared.calibration.key}",
    )
    return search(subject, arguments, inputs.metric, work, cache=prepared.cache, progress=progress)


def _candidate(trial: Trial, prepared: Prepared, threads: int) -> Candidate:
    assert trial.path is not None
    return Candidate(
        model=open_model(trial.path, "spec.model.uri", threads),
        sha256=trial.sha256,
        role=trial.role,
        recipe=trial.recipe.text,
        size_ratio=trial.size_ratio,
        tuning_drop=trial.drop,
        speedup=trial.speedup,
        portable=trial.recipe.portable,
        graph=_graph_figures(prepared.normalized, trial),
        tensors=_tensor_figures(prepared.calibration, trial),
    )


def _graph_figures(normalized: Normalized, trial: Trial) -> GraphFigures:
    nodes = choose_for(onnx.load(normalized.path), trial.recipe)
    return GraphFigures(
        opset_found=normalized.opset_found,
        opset=normalized.opset,
        steps=normalized.steps,
        largest_difference=normalized.largest_difference,
        quantized_nodes=nodes.quantized,
        kept_float_nodes=nodes.kept_float,
        core_nodes_in_subgraphs=normalized.core_in_subgraphs,
        sha256=normalized.sha256,
    )


def _tensor_figures(calibration: Calibration, trial: Trial) -> tuple[TensorFigures, ...]:
    if trial.recipe.approach == Approach.DYNAMIC:
        return ()
    method = trial.recipe.method
    bounds, clipped = calibration.bounds(method), calibration.clipped(method)
    return tuple(
        TensorFigures(name=name, low=low, high=high, clipped=clipped.get(name, 0.0))
        for name, (low, high) in bounds.items()
    )


def _calibration_figures(inputs: Inputs, prepared: Prepared, found: Found) -> CalibrationFigures:
    data, calibration = inputs.calibration, prepared.calibration
    assert data is not None
    methods = dict.fromkeys(each.recipe.method for each in found.trials if each.recipe.approach == Approach.STATIC)
    return CalibrationFigures(
        sha256=data.sha256,
        shards=len(data.counts),
        samples=data.samples,
        used=calibration.used,
        duplicates=prepared.parts.duplicates,
        groups=prepared.parts.groups,
        methods=tuple(methods),
        excluded=calibration.excluded,
        cache_key=calibration.key,
        from_cache=calibration.from_cache,
    )


def _search_figures(arguments: QuantizeArguments, prepared: Prepared, found: Found) -> SearchFigures:
    tuning = prepared.parts.tuning
    return SearchFigures(
        objective=arguments.objective,
        evaluations=found.evaluations,
        max_evaluations=arguments.max_evaluations,
        tuning=_tuning_figures(tuning),
        metric=found.metric,
        trials=tuple(each.figures for each in found.trials),
        layers=found.layers,
    )


def _tuning_figures(tuning: DataSet) -> DataFigures:
    return DataFigures(sha256=tuning.sha256, shards=len(tuning.counts), samples=tuning.samples, used=tuning.samples)
