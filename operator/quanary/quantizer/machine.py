"""What this run stands on: tool versions, the CPU, and which artifacts compute the same on another CPU."""

import platform
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from quanary.quantizer.graph.external import is_external
from quanary.quantizer.graph.walk import tensors_of
from quanary.wire import machine
from quanary.wire.launch import QuantizeArguments

# Kernels for UInt8 x Int8 by multiplying bytes into 16 bits and adding two such products, which can overflow; with one
# of the others they add four products into 32 bits, which cannot. CPUs older than AVX2, and ARM, widen first.
_PAIRS_IN_16_BITS: Final = frozenset({"avx2", "avx512f"})
_SUMS_IN_32_BITS: Final = frozenset({"avx512_vnni", "avx_vnni"})
# 255 * 64 * 2 = 32,640 fits 16 bits; 255 * 127 * 2 does not.
_SEVEN_BIT_LIMIT: Final = 64


def tool_versions() -> dict[str, str]:
    """Of everything that shapes an artifact or its certificate."""
    tools = {name: version(name) for name in ("onnx", "onnxruntime", "numpy", "scipy", "quanary") if _installed(name)}
    return tools | {"python": platform.python_version()}


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def cpu_features() -> tuple[str, ...]:
    """Those of the CPU this runs on that choose integer kernels, sorted."""
    return machine.cpu_features(_read)


def cpu_limit() -> int:
    """Threads of one inference by this container's CPU limit, as a serving pod counts them."""
    return machine.threads_allowed(_read)


def threads_of(arguments: QuantizeArguments) -> int:
    """Threads of one inference, as in a serving pod of the same CPU limit."""
    return arguments.threads or cpu_limit()


def _read(path: str) -> str | None:
    file = Path(path)
    return file.read_text() if file.is_file() else None


def could_saturate(features: Collection[str]) -> bool:
    """Whether 8-bit weights can overflow in the integer kernels of a CPU with these features.

    VPMADDUBSW saturates at 16 bits on x86 with AVX2 or AVX-512 but without VNNI: Intel's Software Developer's Manual.
    """
    return not _PAIRS_IN_16_BITS.isdisjoint(features) and _SUMS_IN_32_BITS.isdisjoint(features)


def is_portable_model(model: onnx.ModelProto) -> bool:
    """`Recipe.portable` of a model from elsewhere, by its weights: no signed byte in it is beyond 7 bits.

    Unsigned weights are widened before they are multiplied, on every CPU. Bytes in another file are not looked at, so
    nothing is promised of them.
    """
    return all(_fits_seven_bits(tensor) for tensor in tensors_of(model) if tensor.data_type == onnx.TensorProto.INT8)


def _fits_seven_bits(tensor: onnx.TensorProto) -> bool:
    if is_external(tensor):
        return False
    return bool((np.abs(numpy_helper.to_array(tensor).astype(np.int16)) <= _SEVEN_BIT_LIMIT).all())
