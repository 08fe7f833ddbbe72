"""Make one INT8 file: pick the nodes, quantize them, drop what is not used any more, and write it whole."""

from pathlib import Path

import onnx
from onnx import ModelProto

from quanary.quantizer.inference import RuntimeErrors
from quanary.quantizer.making import dynamic, static
from quanary.quantizer.making.nodes import KEEP_FLOAT, NodeChoice, choose_for, require_some
from quanary.quantizer.making.prune import prune
from quanary.quantizer.making.quantizer import Known
from quanary.quantizer.recipe import Approach, Recipe

Bounds = dict[str, tuple[float, float]]


class MakingError(Exception):
    """This recipe cannot be made of this graph; another may."""


def make(normalized: Path, recipe: Recipe, bounds: Bounds, work: Path, known: Known | None = None) -> Path:
    """The INT8 model in `work`, named by the recipe. A recipe with 16-bit activations takes a graph at opset 21.

    `known`, if given, has what earlier models of the same graph had to work out, and gets what this one has.

    Raises:
        RefusedError: `kept_float` names no node, or all.
        MakingError: the graph has nothing this recipe quantizes, or the library below fails or leaves a node in float.
    """
    model = onnx.load(normalized)
    nodes = choose_for(model, recipe)
    require_some(nodes)
    if not nodes.quantized:
        message = f"no node that a {recipe.approach.lower()} recipe quantizes"
        raise MakingError(message)
    quantized = _quantize(model, recipe, nodes, bounds, {} if known is None else known)
    prune(quantized)
    artifact = path_of(recipe, work)
    whole = artifact.with_suffix(".part")
    whole.write_bytes(quantized.SerializeToString(deterministic=True))
    return whole.replace(artifact)


def path_of(recipe: Recipe, work: Path) -> Path:
    """Where `make` puts it."""
    return work / f"{recipe.key[:16]}.onnx"


def _quantize(model: ModelProto, recipe: Recipe, nodes: NodeChoice, bounds: Bounds, known: Known) -> ModelProto:
    how = dynamic if recipe.approach == Approach.DYNAMIC else static
    try:
        quantized = how.quantize(model, recipe, nodes, bounds, known)
    except RuntimeErrors as error:
        message = f"a graph that the quantizer cannot handle: {error}"
        raise MakingError(message) from error
    missed = how.missed(quantized, nodes)
    if missed:
        message = f"nodes the quantizer leaves in float: {', '.join(missed)}; name them in {KEEP_FLOAT}"
        raise MakingError(message)
    return quantized
