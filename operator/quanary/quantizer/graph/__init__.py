"""A model's graph: read it safely, bring it into the form that quantizes well, prove that it computes the same."""

from quanary.quantizer.graph.external import files_of, identity_of, size_of
from quanary.quantizer.graph.fitness import CORE
from quanary.quantizer.graph.limits import SOURCE_BYTES
from quanary.quantizer.graph.normalize import VERSION, Admitted, Normalized, admit, normalize, rehearse
from quanary.quantizer.graph.read import read_graph
from quanary.quantizer.graph.walk import all_nodes, opset_of

__all__ = [
    "CORE",
    "SOURCE_BYTES",
    "VERSION",
    "Admitted",
    "Normalized",
    "admit",
    "all_nodes",
    "files_of",
    "identity_of",
    "normalize",
    "opset_of",
    "read_graph",
    "rehearse",
    "size_of",
]
