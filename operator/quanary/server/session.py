"""The model itself: its file checked, and its ONNX Runtime session."""

import ctypes
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from quanary.server.messages import Signature
from quanary.server.tensors import DTYPES, Tensors
from quanary.wire.inference import TensorMetadata

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read by the import below
import onnxruntime

DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
# Operator sets that ONNX Runtime brings along; anything else would need a library out of the model's hands.
KNOWN_DOMAINS: Final = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "com.microsoft", "com.microsoft.nchwc")


class UnservableModel(ValueError):  # noqa: N818
    """A model file that this server refuses; the text says what was found and what is allowed."""


class ModelFile:
    """A model file as it was hashed: the session is made of the very bytes that the digest speaks of.

    They lie in a file of memory until they are loaded: a session out of bytes would hold on to them for ever.
    """

    def __init__(self, content: bytes, digest: str) -> None:
        """Keep a copy of `content`."""
        self.digest = digest
        descriptor = os.memfd_create("model")
        self._close = weakref.finalize(self, os.close, descriptor)
        self.path = f"/proc/self/fd/{descriptor}"  # where they can be read until `release`, by this process alone
        Path(self.path).write_bytes(content)

    def release(self) -> None:
        """Give their memory back, and what reading a model leaves behind."""
        self._close()
        # The C library keeps what was freed for later; it is about as much as the model itself.
        ctypes.CDLL(None).malloc_trim(0)


def read_model(path: Path, digest: str = "") -> ModelFile:
    """The file at `path`, its sha256 compared with `digest` if that is given.

    Raises:
        UnservableModel: it cannot be read, or is another file.
    """
    return _checked(path, digest, _whole)


def name_model(path: Path, digest: str = "") -> ModelFile:
    """Its identity alone, for a model that another process loads: nothing stays in memory. Raises as `read_model`."""
    return _checked(path, digest, _nothing)


def _checked(path: Path, digest: str, read: Callable[[BufferedReader], tuple[bytes, str]]) -> ModelFile:
    try:
        with path.open("rb") as file:
            content, found = read(file)
    except OSError as error:
        message = f"model {path}: {error.strerror or error}"
        raise UnservableModel(message) from error
    if digest and found != digest:
        message = f"model {path}: found sha256 {found}; allowed: {digest}"
        raise UnservableModel(message)
    return ModelFile(content, found)


def _whole(file: BufferedReader) -> tuple[bytes, str]:
    content = file.read()
    return content, hashlib.sha256(content).hexdigest()


def _nothing(file: BufferedReader) -> tuple[bytes, str]:
    return b"", hashlib.file_digest(file, "sha256").hexdigest()


class Session:
    """A loaded model."""

    def __init__(self, model: ModelFile, threads: int) -> None:
        """Load the model, whose bytes are released.

        Raises:
            UnservableModel: it is no model, leans on other files or operators, or speaks no tensors.
        """
        self.threads = threads
        self.operators = check_self_contained(model.path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            message = f"ONNX Runtime {onnxruntime.__version__} refuses the model: {error}"
            raise UnservableModel(message) from error
        model.release()
        self.signature = Signature(
            tuple(_metadata(each) for each in self._session.get_inputs()),
            tuple(_metadata(each) for each in self._session.get_outputs()),
        )
        self._outputs = [each.name for each in self.signature.outputs]

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """All outputs, in the model's order."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def warm_up(self) -> None:
        """One inference on zeros, varying dimensions 1: the first one allocates and is slow."""
        self.run({each.name: _zeros(each) for each in self.signature.inputs})

    def shrink(self, inputs: Tensors) -> None:
        """Run once more, and give back the memory that larger runs have taken."""
        options = onnxruntime.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session.run(self._outputs, dict(inputs), options)


def check_self_contained(path: str) -> frozenset[str]:
    """Refuse a model that names files or operators outside of itself; the types of the operators it has.

    Raises:
        UnservableModel: it does, or it is no ONNX model.
    """
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:
        message = f"the file is no ONNX model: {error}"
        raise UnservableModel(message) from error
    functions = {(each.domain, each.name) for each in model.functions}
    graphs = [model.graph, *model.functions]
    for node in (node for graph in graphs for node in _nodes(graph)):
        if node.domain not in KNOWN_DOMAINS and (node.domain, node.op_type) not in functions:
            found, allowed = f"the custom operator {node.domain}.{node.op_type}", "operators of ONNX and ONNX Runtime"
            message = f"node {node.name!r}: found {found}; allowed: {allowed}"
            raise UnservableModel(message)
    for tensor in (tensor for graph in graphs for tensor in _tensors(graph)):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            message = f"tensor {tensor.name!r}: found external data; allowed: a model that is one file"
            raise UnservableModel(message)
    return frozenset(node.op_type for graph in graphs for node in _nodes(graph))


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor a model stores: in graphs, sparse ones, and in the attributes of nodes."""
    for stored in (graph, *_inner_graphs(graph)):
        if isinstance(stored, onnx.GraphProto):
            yield from stored.initializer
            yield from (part for each in stored.sparse_initializer for part in (each.values, each.indices))
    for attribute in (attribute for node in _nodes(graph) for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)


def _inner_graphs(graph: Any) -> Iterator[Any]:
    for attribute in (attribute for node in _nodes(graph) for attribute in node.attribute):
        yield from (attribute.g, *attribute.graphs)


def _metadata(node: Any) -> TensorMetadata:
    if node.type not in DATATYPES:
        message = f"tensor {node.name!r}: found {node.type}; allowed: {', '.join(DATATYPES)}"
        raise UnservableModel(message)
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return TensorMetadata(node.name, DATATYPES[node.type], shape)


def _zeros(tensor: TensorMetadata) -> NDArray[Any]:
    shape = [1 if size < 0 else size for size in tensor.shape]
    if tensor.datatype == "BYTES":
        return np.full(shape, "", np.object_)
    return np.zeros(shape, DTYPES[tensor.datatype])
