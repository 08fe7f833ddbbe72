"""Large JSON bodies of floats, several times as fast as by way of Python's own numbers. Pure.

The whole body is parsed at once and its numbers are copied into arrays as they are; only the little around them becomes
Python objects. It reads what it knows and leaves everything else, mistakes too, to the common way.
"""

from typing import Any, Final

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

from quanary.wire.inference import InferenceRequest

LARGE_BYTES: Final = 32 * 2**10
# A parser keeps its memory for the next body; of a larger one that would be too much.
REUSE_BYTES: Final = 2**20
FLOATS: Final = ("FP32", "FP64")

Numbers = dict[str, NDArray[np.float64]]
_parser: Final = simdjson.Parser()


def read_large(text: bytes | memoryview) -> tuple[InferenceRequest, Numbers] | None:
    """A request without its data, and the flat data of each input by name; None if that is not all there is."""
    parser = _parser if len(text) <= REUSE_BYTES else simdjson.Parser()
    numbers: Numbers = {}
    try:
        body: Any = parser.parse(text)
        inputs = [_without_data(each, numbers) for each in body["inputs"]]
        message = {key: body[key] for key in body.keys() if key != "inputs"}  # noqa: SIM118  it is no dict
        request = msgspec.convert({**_plain(message), "inputs": inputs}, InferenceRequest)
    # simdjson raises whatever is nearest: ValueError, TypeError, KeyError, RuntimeError.
    except Exception:  # noqa: BLE001
        return None
    return request, numbers


def _without_data(tensor: Any, numbers: Numbers) -> dict[str, Any]:
    """The tensor with nothing but the mark that its data is JSON."""
    plain = _plain({key: tensor[key] for key in tensor.keys() if key != "data"})  # noqa: SIM118
    data = tensor["data"]
    values: NDArray[np.float64] = np.frombuffer(data.as_buffer(of_type="d"), np.float64)
    # Nested data, which is read flat here, must be seen to be regular.
    if plain["datatype"] not in FLOATS or len(data) != len(values) or isinstance(data[0], simdjson.Array):
        raise ValueError(plain["datatype"])
    numbers[plain["name"]] = values
    return {**plain, "data": msgspec.Raw(b"[]")}


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: _python(value) for key, value in fields.items()}


def _python(value: Any) -> Any:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value
