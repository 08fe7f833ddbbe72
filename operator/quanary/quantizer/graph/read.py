"""Parse a model that nobody has looked at yet."""

from pathlib import Path
from typing import Final

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from quanary.quantizer.graph.external import check_external
from quanary.quantizer.graph.limits import FILE_BYTES, Refuse, check_limits
from quanary.quantizer.graph.structure import check_structure
from quanary.quantizer.graph.walk import all_nodes, opset_of
from quanary.wire.report import RefusedError

FIELD: Final = "spec.model.uri"
# ONNX Runtime promises nothing below, and the converter between opsets knows less the older they are.
OLDEST_OPSET: Final = 7

_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def read_graph(path: Path, field: str = FIELD) -> ModelProto:
    """Parse one model file and check what it says of itself. Weights in files beside it stay there, checked.

    Raises:
        RefusedError: on `field`: no ONNX model, larger than a model can be, malformed, leading outside its folder,
            of an opset that nobody knows, or with operators nobody but its maker has.
    """

    def refuse(found: str, allowed: str) -> RefusedError:
        return RefusedError(field, found, allowed)

    model = _parse(path, refuse)
    if not model.graph.node:
        raise refuse("a file without a graph", "one ONNX file")
    check_limits(model, refuse)
    check_external(model, path.parent, refuse)
    check_structure(model, refuse)
    _check_opset(model, refuse)
    _check_domains(model, refuse)
    return model


def _parse(path: Path, refuse: Refuse) -> ModelProto:
    size = path.stat().st_size
    if size > FILE_BYTES:
        help_text = f"at most {FILE_BYTES} bytes; larger: weights as external data, in a folder or tar with the model"
        raise refuse(f"one file of {size} bytes, more than a protobuf holds", help_text)
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise refuse(f"a file that is no ONNX model: {error}", "one ONNX file, whole") from error


def _check_opset(model: ModelProto, refuse: Refuse) -> None:
    found, newest = opset_of(model), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= found <= newest:
        age = "newer than the runtime knows" if found > newest else "too old to convert"
        raise refuse(f"opset {found}, {age}", f"opset {OLDEST_OPSET} to {newest}; export at opset 17")


def _check_domains(model: ModelProto, refuse: Refuse) -> None:
    functions = {(each.domain, each.name) for each in model.functions}
    nodes = [node for part in (model.graph, *model.functions) for node in all_nodes(part)]
    custom = {
        f"{node.domain}::{node.op_type}"
        for node in nodes
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions
    }
    if custom:
        allowed = "ONNX and ONNX Runtime's own operators; export without custom ones"
        raise refuse(f"custom operators {', '.join(sorted(custom))}", allowed)
