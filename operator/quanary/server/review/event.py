"""A question and INT8's answer to it as a CloudEvent (specification 1.0, JSON format). Pure."""

import base64
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson
from numpy.typing import NDArray

from quanary.server.data_plane import Inference
from quanary.server.messages import Signature
from quanary.server.tensors import Tensors, to_bytes, to_json
from quanary.wire.inference import TensorMetadata

REVIEW_TYPE: Final = "dev.quanary.review.v1"
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
# A larger tensor is shorter, and faster to write, in base64.
JSON_LIMIT_BYTES: Final = 4096


@dataclass(frozen=True)
class Review:
    """An answer that somebody should look at."""

    inference: Inference
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def size_bytes(self) -> int:
        """Of its tensors, about."""
        return size_of(self.inference)


@dataclass(frozen=True)
class Origin:
    """Where reviews come from."""

    model: str
    digest: str  # short
    host: str
    signature: Signature


def size_of(inference: Inference) -> int:
    """Bytes of its tensors, about."""
    return sum(_size(each) for tensors in (inference.inputs, inference.own) for each in tensors.values())


def write_event(review: Review, origin: Origin, confidence: float) -> bytes:
    """One line of JSON."""
    event = {
        "specversion": "1.0",
        "type": REVIEW_TYPE,
        "source": f"//{quote(origin.host, safe='')}/v2/models/{quote(origin.model, safe='')}",
        "id": review.id,
        "time": review.time.isoformat(),
        "subject": origin.model,
        "datacontenttype": "application/json",
        "data": {
            "model_name": origin.model,
            "digest": origin.digest,
            "confidence": confidence,
            "inputs": _tensors(review.inference.inputs, origin.signature.inputs),
            "outputs": _tensors(review.inference.own, origin.signature.outputs),
        },
    }
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)


def batch(events: list[bytes]) -> bytes:
    """The body of a request in batched mode."""
    return b"[" + b",".join(events) + b"]"


def _tensors(arrays: Tensors, declared: tuple[TensorMetadata, ...]) -> list[dict[str, Any]]:
    datatypes = {each.name: each.datatype for each in declared}
    return [_tensor(name, datatypes[name], array) for name, array in arrays.items()]


def _tensor(name: str, datatype: str, array: NDArray[Any]) -> dict[str, Any]:
    tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
    if _needs_base64(array, datatype):
        # As the binary extension of the protocol writes them.
        tensor["data_base64"] = base64.b64encode(to_bytes(array, datatype)).decode("ascii")
    else:
        tensor["data"] = to_json(name, array, datatype)
    return tensor


def _needs_base64(array: NDArray[Any], datatype: str) -> bool:
    # JSON has no form of FP16, NaN and infinity.
    is_inexact = array.dtype.kind == "f" and not np.isfinite(array).all()
    return datatype == "FP16" or _size(array) > JSON_LIMIT_BYTES or is_inexact


def _size(array: NDArray[Any]) -> int:
    return sum(len(str(each)) for each in array.ravel().tolist()) if array.dtype.kind == "O" else array.nbytes
