"""Inference messages as the load generator sends and reads them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quanary.wire.inference import HEADER_LENGTH

DATATYPES: Final = {"int32": "INT32", "float32": "FP32"}


def request(inputs: Mapping[str, NDArray[Any]]) -> tuple[bytes, dict[str, str]]:
    """A binary request: body and headers. An answer to it is binary, the model's first output first."""
    blobs = {name: np.ascontiguousarray(array).tobytes() for name, array in inputs.items()}
    tensors = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": DATATYPES[array.dtype.name],
            "parameters": {"binary_data_size": len(blobs[name])},
        }
        for name, array in inputs.items()
    ]
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER_LENGTH: str(len(head)), "content-type": "application/octet-stream"}
    return b"".join((head, *blobs.values())), headers


def top1(body: bytes, header_length: str | None) -> int:
    """The class a binary answer gives: the largest of its first output, or the side of 0.5 where that is one number.

    Raises:
        ValueError: the body is no binary answer.
    """
    if header_length is None:
        raise ValueError(f"an answer without {HEADER_LENGTH}: {body[:100]!r}")
    start = int(header_length)
    size = json.loads(body[:start])["outputs"][0]["parameters"]["binary_data_size"]
    scores: NDArray[Any] = np.frombuffer(body, "<f4", count=size // 4, offset=start)
    return int(scores[0] > 0.5) if len(scores) == 1 else int(scores.argmax())
