"""The order of the steps for one rung of the ladder, from the source's file to a normalised one that is equal to it."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from quanary.quantizer.graph.equality import Feed, largest_difference
from quanary.quantizer.graph.external import files_of, identity_of
from quanary.quantizer.graph.fitness import check_float, check_weights, core_in_subgraphs
from quanary.quantizer.graph.fold import fold, inline_functions
from quanary.quantizer.graph.read import FIELD, read_graph
from quanary.quantizer.graph.shapes import LADDER, Rung, climb
from quanary.quantizer.graph.steps import (
    BYTE_OPSET,
    CHANNEL_OPSET,
    NormalizationError,
    drop_unused,
    fix_weights,
    flatten_gemm_bias,
    forget_unused_domains,
    lift_constants,
    mark_prepared,
    name_nodes,
    raise_opset,
)
from quanary.quantizer.graph.walk import opset_of
from quanary.quantizer.graph.weights import move_out, write_model
from quanary.quantizer.inference import Model, RuntimeErrors, open_model
from quanary.wire.report import RefusedError


@dataclass(frozen=True)
class Request:
    """What to normalise, where to, and the samples that must stay equal."""

    source: Path
    to: Path
    opset: int
    feeds: Sequence[tuple[str, Feed]]


def rebuild(request: Request, ladder: Sequence[Rung] = LADDER) -> dict[str, Any]:
    """Climb until a rung yields an equal graph; the fields of `Normalized` without the path.

    Raises:
        RefusedError: nothing to quantize, quantized already, or no rung keeps the outputs.
    """
    check_float(read_graph(request.source))
    source = open_model(request.source, FIELD)
    failures = []
    for rung in ladder:
        # In the current folder, that goes with this process even if it is killed.
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="rung-") as scratch:
            try:
                return _try(request, source, rung, Path(scratch))
            except (NormalizationError, *RuntimeErrors) as error:
                failures.append(str(error))
    raise RefusedError(FIELD, f"a graph that cannot be normalised ({'; '.join(failures)})", "export it at opset 17")


def _try(request: Request, source: Model, rung: Rung, scratch: Path) -> dict[str, Any]:
    steps: list[str] = []
    model = read_graph(request.source)
    found = opset_of(model)
    opset = request.opset if rung.convert or request.opset > BYTE_OPSET else CHANNEL_OPSET
    model = _prepare(model, opset, steps)
    move_out(model, request.source.parent, scratch / "weights.data")
    model = climb(model, rung, scratch)
    steps.append(rung.text)
    within = _finish(model, steps, scratch)
    made = scratch / "made" / request.to.name
    made.parent.mkdir()
    write_model(model, scratch, made)
    difference = largest_difference(source, made, request.feeds)
    sha256 = identity_of(files_of(made))
    # The model last: it is whole once it is there.
    for file in reversed(files_of(made)):
        shutil.move(file, request.to.parent / file.name)
    return {
        "opset_found": found,
        "opset": opset_of(model),
        "steps": steps,
        "largest_difference": difference,
        "core_in_subgraphs": within,
        "sha256": sha256,
    }


def _prepare(model: ModelProto, opset: int, steps: list[str]) -> ModelProto:
    """All that does not need shapes. Constants first: then every large tensor is an initializer."""
    model.ClearField("training_info")
    model = inline_functions(model, steps)
    fix_weights(model, steps)
    lift_constants(model, steps)
    fold(model, steps)
    model = raise_opset(model, opset, steps)
    name_nodes(model, steps)
    return model


def _finish(model: ModelProto, steps: list[str], scratch: Path) -> int:
    """What shapes and folded constants allow. Returns the number of compute nodes out of reach."""
    fold(model, steps)
    lift_constants(model, steps)
    name_nodes(model, steps)
    flatten_gemm_bias(model, steps, str(scratch))
    drop_unused(model)
    forget_unused_domains(model)
    within = core_in_subgraphs(model)
    check_weights(model, str(scratch))
    model.ir_version = max(
        model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    )
    mark_prepared(model)
    return within
