"""The whole search: candidates, layers if they are needed, the front, and whether this CPU saturates."""

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx

from quanary.artifacts.verify import digest_of
from quanary.quantizer.certify.metrics import Metric
from quanary.quantizer.data import Sample
from quanary.quantizer.machine import threads_of
from quanary.quantizer.making import choose_for, require_some
from quanary.quantizer.progress import Progress
from quanary.quantizer.recipe import Approach
from quanary.quantizer.search import gap, space
from quanary.quantizer.search.evaluator import Evaluator, ExhaustedError
from quanary.quantizer.search.explore import Explorer
from quanary.quantizer.search.front import Worth, best_of, front_of
from quanary.quantizer.search.journal import Journal, key_of
from quanary.quantizer.search.judge import Judge
from quanary.quantizer.search.subject import Subject
from quanary.quantizer.search.trial import Found, Trial
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import GapFigures, LayerFigures, RefusedError

FIELD: Final = "spec.model.uri"


def search(
    subject: Subject,
    arguments: QuantizeArguments,
    metric: Metric,
    work: Path,
    *,
    cache: Path,
    progress: Progress | None = None,
) -> Found:
    """The front of INT8 models in `work`, judged on tuning samples; every evaluation is journalled in `cache`.

    Raises:
        RefusedError: a choice that does not exist, `keepFloat` without a node, or a graph nothing can be made of.
    """
    space.check_choices(arguments)
    evaluator = _open(subject, arguments, metric, work, cache, progress)
    explorer = Explorer(evaluator, onnx.load(subject.normalized), arguments)
    warnings: tuple[str, ...] = ()
    try:
        explorer.explore()
    except ExhaustedError:
        warnings = (_stopped(evaluator, arguments),)
    # What is left is for the emulation, late or not.
    evaluator.max_evaluations, evaluator.deadline = arguments.max_evaluations, math.inf
    worth = Worth(arguments.min_speedup, arguments.min_size_reduction)
    front = front_of(explorer.eligible, arguments.objective, arguments.max_drop, worth)
    if not front:
        for recipe in () if evaluator.trials else space.first(arguments):
            require_some(choose_for(explorer.graph, recipe))
        raise _nothing_made(evaluator.trials.values())
    # Before the files of the front are made: the probe makes one of them, and takes it away.
    probed = explorer.gap or _gap(evaluator, front)
    return Found(
        front=tuple(_made(each, evaluator) for each in front),
        trials=tuple(evaluator.trials.values()),
        layers=_layer_figures(explorer, front),
        gap=probed,
        metric=evaluator.judge.metric.name,
        evaluations=evaluator.evaluations,
        recalled=evaluator.recalled,
        seeds={"emulationGap": gap.SEED},
        warnings=warnings,
    )


def _open(
    subject: Subject,
    arguments: QuantizeArguments,
    metric: Metric,
    work: Path,
    cache: Path,
    progress: Progress | None,
) -> Evaluator:
    judge = Judge.open(subject.model, metric, subject.tuning, threads_of(arguments), arguments.max_drop)
    key = key_of(subject.key, judge.metric.name + judge.metric.code, (_content(each) for each in judge.samples))
    journal = Journal.open(cache, key)
    # One is left for the emulation of what was found.
    allowed = max(1, arguments.max_evaluations - 1)
    deadline = time.monotonic() + (arguments.search_seconds or math.inf)
    return Evaluator(subject, judge, journal, arguments.max_drop, allowed, work, progress, deadline)


def _stopped(evaluator: Evaluator, arguments: QuantizeArguments) -> str:
    if evaluator.is_late:
        what = f"{arguments.search_seconds:g} s, after {evaluator.evaluations} evaluations; more time"
    else:
        what = f"{arguments.max_evaluations} evaluations; more"
    return f"the search stopped at {what} may find a better model"


def _content(sample: Sample) -> bytes:
    """With the label, that a sample's digest leaves out."""
    return sample.digest if sample.label is None else sample.digest + repr(sample.label.tolist()).encode()


def _made(trial: Trial, evaluator: Evaluator) -> Trial:
    path = evaluator.make(trial.recipe)
    if digest_of(path) != trial.sha256:
        # Something it was made of has changed since it was judged, and no key of the journal covers that.
        found = f"{trial.recipe.text}: sha256 {digest_of(path)}, judged was {trial.sha256}"
        raise RefusedError("--cache", found, "an empty folder: the evaluations in this one are of other files")
    return replace(trial, path=path)


def _gap(evaluator: Evaluator, front: tuple[Trial, ...]) -> GapFigures | None:
    """Of the least safe static one; dynamic integer nodes have no emulation."""
    static = [each for each in front if each.recipe.approach == Approach.STATIC]
    return gap.probe(evaluator, static[-1]) if static and evaluator.left else None


def _layer_figures(explorer: Explorer, front: tuple[Trial, ...]) -> tuple[LayerFigures, ...]:
    """The worst first; `kept_float` in the best by the objective. Nodes judged together have one divergence."""
    best = best_of(front, explorer.arguments.objective) or front[-1]
    kept = set(choose_for(explorer.graph, best.recipe).kept_float)
    operators = {node.name: node.op_type for node in explorer.graph.graph.node}
    return tuple(
        LayerFigures(node=name, operator=operators[name], divergence=layer.divergence, kept_float=name in kept)
        for layer in explorer.layers
        for name in layer.nodes
    )


def _nothing_made(trials: Iterable[Trial]) -> RefusedError:
    failures = "; ".join(dict.fromkeys(f"{each.recipe.text}: {each.failure}" for each in trials))
    found = f"a graph of which no candidate can be made or run: {failures or 'none was possible'}"
    return RefusedError(FIELD, found, "another strategy, or the failing nodes in spec.quantization.keepFloat")
