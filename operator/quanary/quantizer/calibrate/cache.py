"""What calibration found, kept in a folder under a key that covers everything it follows from.

Each file begins with its key and the digest of what follows: one that is damaged, or not ours, is as good as none.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from onnx import ModelProto

_MAGIC: Final = "quanary-calibration-1"
_TOOLS: Final = ("onnx", "onnxruntime", "numpy", "quanary")


@dataclass(frozen=True)
class Cache:
    """Entries of one key; without a folder nothing is kept."""

    folder: Path | None
    key: str

    def get(self, part: str) -> bytes | None:
        """What was put, or None."""
        if self.folder is None or not self._path(part).is_file():
            return None
        head, _, body = self._path(part).read_bytes().partition(b"\n")
        return body if head == self._head(part, body) else None

    def put(self, part: str, body: bytes) -> None:
        """Whole or not at all, whenever it is broken off."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".calibration-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._head(part, body) + b"\n" + body)
            temporary.replace(self._path(part))
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, part: str) -> Path:
        assert self.folder is not None
        return self.folder / f"calibration-{self.key}.{part}"

    def _head(self, part: str, body: bytes) -> bytes:
        return f"{_MAGIC} {self.key} {part} {hashlib.sha256(body).hexdigest()}".encode()


def key_of(
    model_sha256: str,
    graph: ModelProto,
    samples: Sequence[bytes],
    tensors: Sequence[str],
    settings: Mapping[str, object],
) -> str:
    """A digest of all that ranges follow from: model, normalised graph, samples in order, tensors, settings, tools.

    The graph itself stands for the version of what normalised it.
    """
    hasher = hashlib.sha256()
    tools = {name: version(name) for name in _TOOLS}
    said = {"model": model_sha256, "tensors": list(tensors), "settings": dict(settings), "tools": tools}
    for part in (json.dumps(said, sort_keys=True).encode(), digest_of_graph(graph), *samples):
        hasher.update(hashlib.sha256(part).digest())
    return hasher.hexdigest()


def digest_of_graph(model: ModelProto) -> bytes:
    """Piece by piece: a message of 2 GiB or more cannot be written as one."""
    graph, hasher = model.graph, hashlib.sha256()
    pieces = (*model.opset_import, *graph.input, *graph.output, *graph.node, *graph.initializer, *model.functions)
    for piece in (*pieces, *graph.sparse_initializer):
        hasher.update(hashlib.sha256(piece.SerializeToString(deterministic=True)).digest())
    return hasher.digest()
