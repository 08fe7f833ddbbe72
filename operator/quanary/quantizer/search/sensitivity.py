"""How much each layer costs when it alone is quantized."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from quanary.quantizer.recipe import Recipe
from quanary.quantizer.search.evaluator import Evaluator


@dataclass(frozen=True)
class Layer:
    """A compute node, or several in a row that were judged together; what their quantization alone does."""

    nodes: tuple[str, ...]
    divergence: float


def rank(evaluator: Evaluator, base: Recipe, nodes: Sequence[str], groups: int) -> tuple[Layer, ...]:
    """The worst first. With more nodes than `groups`, neighbours are judged together.

    Enable-one on the real kernels: leave-one-out costs four times as much and ranks worse, and a simulation in float
    cannot see saturation.

    Raises:
        ExhaustedError: nothing is left to spend on it.
    """
    parts = list(_split(nodes, max(1, groups)))
    watched: Iterable[tuple[str, ...]] = parts
    if evaluator.progress:
        watched = evaluator.progress.watch(parts, len(parts), "layers")
    layers = [Layer(part, evaluator.diverges(keep(base, set(nodes) - set(part), nodes))) for part in watched]
    return tuple(sorted(layers, key=lambda each: -each.divergence))


def keep(base: Recipe, kept: Iterable[str], order: Sequence[str]) -> Recipe:
    """The recipe with more nodes in float, in graph order, so that one set is one recipe."""
    chosen = set(kept)
    # A name is no pattern, whatever it looks like.
    names = tuple(glob.escape(name) for name in order if name in chosen)
    return replace(base, kept_float=(*base.kept_float, *names))


def _split(nodes: Sequence[str], groups: int) -> Iterable[tuple[str, ...]]:
    size = -(-len(nodes) // groups)
    return (tuple(nodes[start : start + size]) for start in range(0, len(nodes), size))
