"""One INT8 file out of a normalised graph, a recipe and calibrated ranges; the same inputs give the same bytes."""

from quanary.quantizer.making.make import MakingError, make, path_of
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
from quanary.quantizer.making.quantizer import Known

__all__ = [
    "KEEP_FLOAT",
    "Known",
    "MakingError",
    "NodeChoice",
    "choose_for",
    "choose_nodes",
    "make",
    "operators_of",
    "path_of",
    "quantized_nodes",
    "require_some",
    "tensors_for",
]
