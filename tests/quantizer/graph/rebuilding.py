"""A model through all steps, in this process, where a test can reach in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto

from quanary.quantizer.graph import rebuild
from quanary.quantizer.graph.shapes import LADDER, Rung
from tests.quantizer.models import images, save

FEEDS = [(f"sample {index}", {"image": image[None]}) for index, image in enumerate(images(4, seed=1))]


def rebuilt(
    model: ModelProto,
    folder: Path,
    *,
    opset: int = 17,
    feeds: Sequence[tuple[str, Any]] = FEEDS,
    ladder: Sequence[Rung] = LADDER,
) -> dict[str, Any]:
    request = rebuild.Request(save(model, folder / "model.onnx"), folder / "normalized.onnx", opset, feeds)
    return rebuild.rebuild(request, ladder)


def graph_of(folder: Path) -> GraphProto:
    return onnx.load(folder / "normalized.onnx").graph
