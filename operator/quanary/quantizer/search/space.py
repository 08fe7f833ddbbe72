"""The candidates of a search, cheap and likely ones first."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from quanary.quantizer.recipe import Activations, Approach, Granularity, Method, Recipe, Scope
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import RefusedError

AUTO: Final = "auto"
OBJECTIVES: Final = ("latency", "size")
_FIELD: Final = "spec.quantization"
_APPROACHES: Final = {"static": Approach.STATIC, "dynamic": Approach.DYNAMIC}
_ACTIVATIONS: Final = {each.lower(): each for each in Activations}
_GRANULARITIES: Final = {each.lower(): each for each in Granularity}
_METHODS: Final = {each.lower(): each for each in Method}


def check_choices(arguments: QuantizeArguments) -> None:
    """Refuse what the search does not know.

    Raises:
        RefusedError: naming the field, the value and what is allowed.
    """
    for name, field, known in (
        ("strategy", "strategy", _APPROACHES),
        ("activations", "activations", _ACTIVATIONS),
        ("granularity", "granularity", _GRANULARITIES),
        ("method", "calibration.method", _METHODS),
    ):
        value = getattr(arguments, name)
        if value not in {AUTO, *known}:
            raise RefusedError(f"{_FIELD}.{field}", repr(value), f"{AUTO}, {', '.join(known)}")
    if arguments.objective not in OBJECTIVES:
        raise RefusedError(f"{_FIELD}.objective", repr(arguments.objective), " or ".join(OBJECTIVES))
    if arguments.max_evaluations < 1:
        raise RefusedError(f"{_FIELD}.maxEvaluations", f"{arguments.max_evaluations}", "1 or more")
    if arguments.strategy == "dynamic" and arguments.activations == "uint16":
        raise RefusedError(f"{_FIELD}.activations", "uint16 with strategy dynamic", "uint8: no kernel takes 16 bits")


def first(arguments: QuantizeArguments) -> tuple[Recipe, ...]:
    """Always tried: most models end here."""
    core = _core(arguments)
    dynamic = Recipe(
        approach=Approach.DYNAMIC,
        granularity=core.granularity,
        reduce_range=not arguments.full_range,
        kept_float=core.kept_float,
    )
    candidates = [core, dynamic, replace(core, scope=Scope.ALL)]
    if arguments.objective == "size":
        candidates.append(replace(core, granularity=Granularity.PER_TENSOR))
    return _allowed(arguments, candidates)


def further(arguments: QuantizeArguments) -> tuple[Recipe, ...]:
    """Tried in turn while no static candidate is in budget: other ranges, then 16-bit activations."""
    core = _core(arguments)
    methods = (Method.PERCENTILE, Method.ENTROPY, Method.MEAN_SQUARED_ERROR)
    candidates = [replace(core, method=method) for method in methods]
    candidates.append(replace(core, activations=Activations.UINT16, reduce_range=False))
    return tuple(each for each in _allowed(arguments, candidates) if each not in first(arguments))


def _core(arguments: QuantizeArguments) -> Recipe:
    """The first candidate: what the user fixed, and the likeliest of the rest."""
    activations = _ACTIVATIONS.get(arguments.activations, Activations.UINT8)
    # No integer kernel takes 16 bits, so that 8-bit weights cannot saturate beside them.
    return Recipe(
        activations=activations,
        granularity=_GRANULARITIES.get(arguments.granularity, Granularity.PER_CHANNEL),
        reduce_range=not (arguments.full_range or activations == Activations.UINT16),
        method=_METHODS.get(arguments.method, Method.MIN_MAX),
        kept_float=tuple(arguments.keep_float),
    )


def _allowed(arguments: QuantizeArguments, candidates: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Those that contradict nothing the user fixed."""
    fits = (each for each in candidates if _fits(each, arguments))
    return tuple(dict.fromkeys(fits))


def _fits(recipe: Recipe, arguments: QuantizeArguments) -> bool:
    if recipe.approach != _APPROACHES.get(arguments.strategy, recipe.approach):
        return False
    if recipe.granularity != _GRANULARITIES.get(arguments.granularity, recipe.granularity):
        return False
    if recipe.approach == Approach.DYNAMIC:
        return True
    activations = _ACTIVATIONS.get(arguments.activations, recipe.activations)
    return (recipe.activations, recipe.method) == (activations, _METHODS.get(arguments.method, recipe.method))
