"""In which order candidates are tried, and when that is enough."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from onnx import ModelProto

from quanary.quantizer.making import choose_for
from quanary.quantizer.recipe import Activations, Approach, Recipe, Scope
from quanary.quantizer.search import space
from quanary.quantizer.search.evaluator import Evaluator
from quanary.quantizer.search.front import best_of, harm, is_better
from quanary.quantizer.search.gap import probe
from quanary.quantizer.search.sensitivity import Layer, keep, rank
from quanary.quantizer.search.shrink import shrink
from quanary.quantizer.search.trial import Trial
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import GapFigures

# Parts of the graph that are judged alone to make a safer one of a candidate that is in budget already.
_FEW_GROUPS: Final = 8
_FEWER_GROUPS: Final = 4
# Of the sum of all layers' divergences, what a safer one takes away at least.
_SAFER_SHARE: Final = 0.5


@dataclass
class Explorer:
    """One walk through the candidates; what it learns is in the evaluator's trials, in `layers` and in `gap`."""

    evaluator: Evaluator
    graph: ModelProto
    arguments: QuantizeArguments
    layers: tuple[Layer, ...] = ()
    gap: GapFigures | None = None

    @property
    def eligible(self) -> list[Trial]:
        """Trials that could be certified: those that saturate are not."""
        saturated = self.gap is not None and self.gap.saturates
        trials = self.evaluator.trials.values()
        return [each for each in trials if not each.failure and (each.recipe.portable or not saturated)]

    def explore(self) -> None:
        """From the likeliest candidate to single layers, as far as it is needed.

        Raises:
            ExhaustedError: the evaluations are used up on the way.
        """
        self._try(space.first(self.arguments))
        if self.arguments.full_range:
            self._leave_saturation()
        for recipe in space.further(self.arguments):
            if not any(each.in_budget for each in self._static()):
                self._try([recipe])
        base = min(self._static(Scope.CORE), key=harm, default=None)
        if base and self._layers_may_pay(base):
            self._shrink(base)
        self._make_safer()

    def _try(self, recipes: Iterable[Recipe]) -> None:
        for recipe in recipes:
            if self._is_worth_a_try(recipe):
                self.evaluator.evaluate(recipe)

    def _is_worth_a_try(self, recipe: Recipe) -> bool:
        """It has nodes, and with scope All others beside those of the core, that are not all kept in float."""
        nodes = choose_for(self.graph, recipe)
        if recipe.scope == Scope.CORE:
            return bool(nodes.quantized)
        core = choose_for(self.graph, replace(recipe, scope=Scope.CORE))
        return nodes.quantized != core.quantized and bool(core.quantized or not core.kept_float)

    def _static(self, scope: Scope | None = None) -> list[Trial]:
        """Eligible ones with 8-bit activations unless the user fixed others, nothing but the user's nodes in float."""
        return [
            each
            for each in self.eligible
            if each.recipe.approach == Approach.STATIC
            and each.recipe.activations == self._activations
            and each.recipe.kept_float == self.arguments.keep_float
            and scope in (None, each.recipe.scope)
        ]

    @property
    def _activations(self) -> Activations:
        return Activations.UINT16 if self.arguments.activations == "uint16" else Activations.UINT8

    def _leave_saturation(self) -> None:
        """With 8-bit weights, emulate the first static candidate; if this CPU saturates, all have 7 bits."""
        trial = next(iter(self._static()), None)
        if trial is None:
            return
        self.gap = probe(self.evaluator, trial)
        if self.gap is not None and self.gap.saturates:
            self.arguments = replace(self.arguments, full_range=False)
            self._try(space.first(self.arguments))

    def _layers_may_pay(self, base: Trial) -> bool:
        """Leaving layers in float costs speed and size: only for something better than what is in budget already."""
        if any(each.in_budget for each in self._static()):
            return False
        best = best_of((each for each in self.eligible if each.in_budget), self.arguments.objective)
        if best is None:
            return True
        is_gain = self.arguments.objective == "size" or base.speedup > 1
        return is_gain and is_better(base, best, self.arguments.objective)

    def _shrink(self, base: Trial) -> None:
        nodes = choose_for(self.graph, base.recipe).quantized
        if len(nodes) == 1:
            return
        # Half of what is left is for the sets of layers.
        self.layers = rank(self.evaluator, base.recipe, nodes, max(_FEW_GROUPS, self.evaluator.left // 2))
        ranked = [name for layer in self.layers for name in layer.nodes]
        shrink(ranked, lambda kept: self.evaluator.evaluate(keep(base.recipe, kept, nodes)).in_budget)

    def _make_safer(self) -> None:
        """More layers in float than the best in budget has."""
        objective = self.arguments.objective
        best = best_of((each for each in self.eligible if each.in_budget), objective)
        if best is None or best.recipe.approach == Approach.DYNAMIC:
            return
        nodes = choose_for(self.graph, best.recipe).quantized
        if len(nodes) < 2:
            return
        if not self.layers:
            self.layers = rank(self.evaluator, best.recipe, nodes, _groups(nodes))
        kept = _worst(self.layers, set(nodes))
        if len(kept) < len(nodes):
            self.evaluator.evaluate(keep(best.recipe, kept, nodes))


def _groups(nodes: Sequence[str]) -> int:
    """Single layers of a small graph, coarse parts of a large one, where each costs as much as a candidate."""
    return _FEW_GROUPS if len(nodes) <= _FEW_GROUPS else _FEWER_GROUPS


def _worst(layers: Iterable[Layer], quantized: set[str]) -> set[str]:
    """Nodes of the layers that do most of the harm."""
    left = [layer for layer in layers if quantized & set(layer.nodes)]
    total, taken, kept = sum(each.divergence for each in left), 0.0, set[str]()
    for layer in left:
        if kept and taken >= _SAFER_SHARE * total:
            break
        kept |= quantized & set(layer.nodes)
        taken += layer.divergence
    return kept
