"""Whole requests and answers as bytes and back, checked against what the model declares. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import orjson
from numpy.typing import NDArray

from quanary.server.large_json import FLOATS, LARGE_BYTES, Numbers, read_large
from quanary.server.tensors import (
    LENGTH_BYTES,
    Malformed,
    Tensors,
    from_bytes,
    quote,
    read_tensors,
    shape_text,
    to_bytes,
    to_json,
)
from quanary.wire.inference import (
    ELEMENT_BYTES,
    MODEL_VERSION,
    FlatInput,
    FlatRequest,
    InferenceRequest,
    InferenceResponse,
    InputTensor,
    RequestedOutput,
    TensorMetadata,
)

# The names of wanted outputs, each with whether it is wanted in binary.
Wanted = tuple[tuple[str, bool], ...]
_Message = TypeVar("_Message", InferenceRequest, InferenceResponse)

# Numbers as text take many times their size while they are read, and nobody else is answered meanwhile.
JSON_LIMIT_BYTES: Final = 16 * 2**20
_DIGITS_LIMIT: Final = 12
_ALIGNED_BYTES: Final = 8  # the largest element's
_IN_BINARY: Final = {"binary_data": True}
_NOTHING: Final = memoryview(b"")
_request_decoder: Final = msgspec.json.Decoder(InferenceRequest)
_flat_decoder: Final = msgspec.json.Decoder(FlatRequest)
_response_decoder: Final = msgspec.json.Decoder(InferenceResponse)


class _Expected(NamedTuple):
    """An input as it must be; `fixed` are the dimensions that do not vary, each with its axis."""

    datatype: str
    shape: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, declared: TensorMetadata) -> "_Expected":
        fixed = tuple((axis, size) for axis, size in enumerate(declared.shape) if size != -1)
        return cls(declared.datatype, declared.shape, fixed)


@dataclass(frozen=True)
class Signature:
    """What the model takes and gives, in its own order."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]

    @cached_property
    def expected(self) -> dict[str, _Expected]:
        """What the model takes, by name."""
        return {each.name: _Expected.of(each) for each in self.inputs}

    @cached_property
    def is_all_floats(self) -> bool:
        """Whether all that it takes is floats that JSON can carry."""
        return all(each.datatype in FLOATS for each in self.inputs)

    @cached_property
    def datatypes(self) -> dict[str, str]:
        """Those of the outputs, by name."""
        return {each.name: each.datatype for each in self.outputs}

    @cached_property
    def all_outputs(self) -> tuple[RequestedOutput, ...]:
        """What is wanted by who names nothing."""
        return tuple(RequestedOutput(each.name) for each in self.outputs)

    @cached_property
    def all_in_json(self) -> Wanted:
        """What is wanted by who says nothing."""
        return tuple((each.name, False) for each in self.outputs)

    @cached_property
    def all_in_binary(self) -> Wanted:
        """What is wanted by who names nothing and speaks binary."""
        return tuple((each.name, True) for each in self.outputs)


class Request(msgspec.Struct, frozen=True):
    """A checked request."""

    inputs: Tensors
    outputs: Wanted
    id: str | None = None


def read_request(body: bytes, header_length: bytes | None, signature: Signature) -> Request:
    """A request out of a body and its `Inference-Header-Content-Length`, if any.

    Raises:
        Malformed: the body breaks the protocol or does not fit `signature`.
    """
    if header_length is None:
        head, tail = body, _NOTHING
    elif header_length.strip() == b"0":
        return _read_bare_tensor(body, signature)
    else:
        head, tail = _split(body, header_length)
    message, numbers = _read_json(head, may_be_flat=not tail and signature.is_all_floats)
    outputs = _wanted(message, signature)
    check_inputs(message.inputs, signature)
    return Request(in_order(read_tensors(message.inputs, tail, numbers), signature), outputs, message.id)


def _read_json(text: bytes, *, may_be_flat: bool) -> tuple[InferenceRequest | FlatRequest, Numbers]:
    """By the quickest way that can: each leaves what it does not know, mistakes too, to the common one."""
    if len(text) >= LARGE_BYTES:
        return read_large(text) or (_decode(_request_decoder, text), {})
    flat = _read_flat(text) if may_be_flat else None
    return flat or _decode(_request_decoder, text), {}


def _read_flat(text: bytes) -> FlatRequest | None:
    """With its data in one pass, where the common way takes three."""
    try:
        return _flat_decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def write_response(name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, int | None]:
    """An answer's body and, if it holds binary tensors, the length of its JSON part.

    Raises:
        Malformed: an output cannot be written in the form that was asked for.
    """
    tensors, blobs = [], []
    for wanted, is_binary in request.outputs:
        array, datatype = outputs[wanted], signature.datatypes[wanted]
        tensor: dict[str, Any] = {"name": wanted, "datatype": datatype, "shape": array.shape}
        if is_binary:
            blob = to_bytes(array, datatype)
            blobs.append(blob)
            tensor["parameters"] = {"binary_data_size": len(blob)}
        else:
            tensor["data"] = to_json(wanted, array, datatype)
        tensors.append(tensor)
    message: dict[str, Any] = {"model_name": name, "model_version": MODEL_VERSION, "outputs": tensors}
    if request.id is not None:
        message["id"] = request.id
    head = orjson.dumps(message, None, orjson.OPT_SERIALIZE_NUMPY)
    if not blobs:
        return head, None
    head = _padded(head)
    return b"".join((head, *blobs)), len(head)


def write_request(inputs: Tensors, output: str | None, signature: Signature) -> tuple[bytes, ...]:
    """A request in binary for one output or all, as one server asks another: its JSON part, and that of each input."""
    tensors, blobs = [], []
    for name, array in inputs.items():
        datatype = signature.expected[name].datatype
        blob = to_bytes(array, datatype)
        blobs.append(blob)
        size = {"binary_data_size": len(blob)}
        tensors.append({"name": name, "datatype": datatype, "shape": array.shape, "parameters": size})
    wanted = signature.datatypes if output is None else (output,)
    outputs = [{"name": name, "parameters": _IN_BINARY} for name in wanted]
    return _padded(orjson.dumps({"inputs": tensors, "outputs": outputs})), *blobs


def _padded(head: bytes) -> bytes:
    """With blanks, so that whoever reads the first tensor behind it finds it aligned, and copies nothing."""
    return head + b" " * (-len(head) % _ALIGNED_BYTES)


def read_response(body: bytes, header_length: bytes | None) -> dict[str, NDArray[Any]]:
    """The outputs of an answer, by name.

    Raises:
        Malformed: the body breaks the protocol.
    """
    head, tail = (body, _NOTHING) if header_length is None else _split(body, header_length)
    return read_tensors(_decode(_response_decoder, head).outputs, tail)


def _split(body: bytes, header_length: bytes) -> tuple[bytes, memoryview]:
    digits = header_length.strip()
    if not digits.isdigit() or len(digits) > _DIGITS_LIMIT or int(digits) > len(body):
        found = quote(header_length.decode("latin-1"))
        message = f"Inference-Header-Content-Length: found {found}; allowed: 0 to {len(body)}, the body's length"
        raise Malformed(message)
    length = int(digits)
    head, tail = body[:length], memoryview(body)[length:]
    # Tensors that are kept keep the bytes they lie in: never those of a head that is longer than they are.
    return head, memoryview(bytes(tail)) if len(tail) < length else tail


def _decode(decoder: msgspec.json.Decoder[_Message], text: bytes) -> _Message:
    if len(text) > JSON_LIMIT_BYTES:
        message = f"the JSON part: found {len(text)} bytes; allowed: {JSON_LIMIT_BYTES}, larger tensors in binary"
        raise Malformed(message)
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"the JSON part: {error}"
        raise Malformed(message) from None
    except RecursionError:
        raise Malformed("the JSON part: nested too deeply") from None


def check_inputs(tensors: Sequence[InputTensor | FlatInput], signature: Signature) -> None:
    """See that these are inputs of the model, of its datatypes and shapes.

    Raises:
        Malformed: one is not.
    """
    expected = signature.expected
    for tensor in tensors:
        wanted = expected.get(tensor.name)
        if wanted is None:
            message = f"input {quote(tensor.name)} is unknown; the model takes {_names(signature.inputs)}"
            raise Malformed(message)
        _check_against(tensor, wanted)


def in_order(arrays: Tensors, signature: Signature) -> Tensors:
    """The inputs in the model's order.

    Raises:
        Malformed: one is missing.
    """
    if len(arrays) < len(signature.inputs):
        missing = next(each.name for each in signature.inputs if each.name not in arrays)
        message = f"input {quote(missing)} is missing; the model takes {_names(signature.inputs)}"
        raise Malformed(message)
    return arrays if len(arrays) == 1 else {name: arrays[name] for name in signature.expected}


def wanted_outputs(outputs: Sequence[RequestedOutput], signature: Signature) -> tuple[RequestedOutput, ...]:
    """The outputs that were asked for: all, if none is named.

    Raises:
        Malformed: one is unknown, named twice, or wanted in a form that is not spoken here.
    """
    if not outputs:
        return signature.all_outputs
    seen: set[str] = set()
    for each in outputs:
        if each.name not in signature.datatypes:
            message = f"output {quote(each.name)} is unknown; the model gives {_names(signature.outputs)}"
            raise Malformed(message)
        if each.name in seen:
            message = f"output {quote(each.name)} is named twice"
            raise Malformed(message)
        seen.add(each.name)
        if each.parameters.get("classification"):
            message = f"output {quote(each.name)}: the classification extension is not spoken here"
            raise Malformed(message)
        _refuse_shared_memory("output", each)
    return tuple(outputs)


def _refuse_shared_memory(kind: str, tensor: InputTensor | FlatInput | RequestedOutput) -> None:
    if "shared_memory_region" in tensor.parameters:
        message = f"{kind} {quote(tensor.name)}: the shared memory extension is not spoken here"
        raise Malformed(message)


def _check_against(tensor: InputTensor | FlatInput, expected: _Expected) -> None:
    if tensor.parameters:
        _refuse_shared_memory("input", tensor)
    if tensor.datatype != expected.datatype:
        found = quote(tensor.datatype)
        message = f"input {quote(tensor.name)}: found datatype {found}; allowed: {expected.datatype}"
        raise Malformed(message)
    # A negative dimension is refused where the elements are counted; here it must not pass as one that varies.
    if not _is_fitting(tensor.shape, expected):
        found, allowed = shape_text(tensor.shape), shape_text(expected.shape)
        message = f"input {quote(tensor.name)}: found shape {found}; allowed: {allowed}, where -1 varies"
        raise Malformed(message)


def _is_fitting(shape: Sequence[int], expected: _Expected) -> bool:
    if len(shape) != len(expected.shape):
        return False
    for axis, size in expected.fixed:  # noqa: SIM110  any() takes three times as long
        if shape[axis] != size:
            return False
    return True


def _wanted(message: InferenceRequest | FlatRequest, signature: Signature) -> Wanted:
    is_binary_by_default = message.parameters.get("binary_data_output") is True
    if not message.outputs:
        return signature.all_in_binary if is_binary_by_default else signature.all_in_json
    return tuple(
        (each.name, each.parameters.get("binary_data", is_binary_by_default) is True)
        for each in wanted_outputs(message.outputs, signature)
    )


def _read_bare_tensor(body: bytes, signature: Signature) -> Request:
    """The body is the one input's bytes and nothing else; its varying dimensions are worked out."""
    if len(signature.inputs) != 1:
        message = f"a body without JSON serves models of one input; this one takes {_names(signature.inputs)}"
        raise Malformed(message)
    (declared,) = signature.inputs
    size = ELEMENT_BYTES[declared.datatype]
    data = body if size else len(body).to_bytes(LENGTH_BYTES, "little") + body
    shape = _complete(declared.shape, len(body) // size if size else 1)
    tensor = InputTensor(declared.name, shape, declared.datatype)
    array = from_bytes(tensor, memoryview(data)).reshape(shape)
    return Request({declared.name: array}, signature.all_in_binary)


def _complete(shape: Sequence[int], count: int) -> list[int]:
    """`shape` with its last varying dimension made to hold `count` elements, the other varying ones 1."""
    complete = [1 if size < 0 else size for size in shape]
    varying = [axis for axis, size in enumerate(shape) if size < 0]
    if varying:
        complete[varying[-1]] = count // max(1, math.prod(complete))
    return complete


def _names(tensors: Sequence[TensorMetadata]) -> str:
    return ", ".join(quote(each.name) for each in tensors[:20])
