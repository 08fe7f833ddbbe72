"""One INT8 file out of a normalised graph, a recipe and calibrated ranges; the same inputs give the same bytes."""

from quanary.quantizer.making.make import MakingError, make
from quanary.quantizer.making.nodes import (
    KEEP_FLOAT,
    NodeChoice,
    choose_for,
    choose_nodes,
    operators_of,
    quantized_nodes,
    require_some,
    tensors_for,
)

__all__ = [
    "KEEP_FLOAT",
    "MakingError",
    "NodeChoice",
    "choose_for",
    "choose_nodes",
    "make",
    "operators_of",
    "quantized_nodes",
    "require_some",
    "tensors_for",
]
