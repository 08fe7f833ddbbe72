"""Whole requests and answers as bytes and back, checked against what the model declares. Pure."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import msgspec
import orjson
from numpy.typing import NDArray

from quanary.server.large_json import LARGE_BYTES, read_large
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
    InferenceRequest,
    InferenceResponse,
    InputTensor,
    Parameters,
    RequestedOutput,
    TensorMetadata,
)

_Message = TypeVar("_Message", InferenceRequest, InferenceResponse)

# Numbers as text take many times their size while they are read, and nobody else is answered meanwhile.
JSON_LIMIT_BYTES: Final = 16 * 2**20
_DECIMAL: Final = re.compile(rb"[0-9]{1,12}")
_request_decoder: Final = msgspec.json.Decoder(InferenceRequest)
_response_decoder: Final = msgspec.json.Decoder(InferenceResponse)


@dataclass(frozen=True)
class Signature:
    """What the model takes and gives, in its own order."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]

    @cached_property
    def inputs_by_name(self) -> dict[str, TensorMetadata]:
        """What the model takes."""
        return {each.name: each for each in self.inputs}

    @cached_property
    def outputs_by_name(self) -> dict[str, TensorMetadata]:
        """What the model gives."""
        return {each.name: each for each in self.outputs}

    @cached_property
    def all_outputs(self) -> tuple[RequestedOutput, ...]:
        """What is wanted by who names nothing."""
        return tuple(RequestedOutput(each.name) for each in self.outputs)


@dataclass(frozen=True)
class Request:
    """A checked request; `outputs` are the wanted names, each with whether it is wanted in binary."""

    inputs: Tensors
    outputs: tuple[tuple[str, bool], ...]
    id: str | None = None


def read_request(body: bytes, header_length: bytes | None, signature: Signature) -> Request:
    """A request out of a body and its `Inference-Header-Content-Length`, if any.

    Raises:
        Malformed: the body breaks the protocol or does not fit `signature`.
    """
    if header_length is not None and header_length.strip() == b"0":
        return _read_bare_tensor(body, signature)
    head, tail = _split(body, header_length)
    large = read_large(head) if len(head) >= LARGE_BYTES else None
    message, numbers = large or (_decode(_request_decoder, head), {})
    outputs = _wanted(message, signature)
    check_inputs(message.inputs, signature)
    return Request(in_order(read_tensors(message.inputs, tail, numbers), signature), outputs, message.id)


def write_response(name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, int | None]:
    """An answer's body and, if it holds binary tensors, the length of its JSON part.

    Raises:
        Malformed: an output cannot be written in the form that was asked for.
    """
    tensors, blobs = [], []
    for wanted, is_binary in request.outputs:
        array, datatype = outputs[wanted], signature.outputs_by_name[wanted].datatype
        tensor: dict[str, Any] = {"name": wanted, "datatype": datatype, "shape": list(array.shape)}
        if is_binary:
            blobs.append(to_bytes(array, datatype))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = to_json(wanted, array, datatype)
        tensors.append(tensor)
    message: dict[str, Any] = {"model_name": name, "model_version": MODEL_VERSION, "outputs": tensors}
    if request.id is not None:
        message["id"] = request.id
    head = orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((head, *blobs)), len(head) if blobs else None


def write_request(inputs: Tensors, output: str | None, signature: Signature) -> tuple[bytes, ...]:
    """A request in binary for one output or all, as one server asks another: its JSON part, and that of each input."""
    datatypes = {each.name: each.datatype for each in signature.inputs}
    tensors, blobs = [], []
    for name, array in inputs.items():
        blobs.append(to_bytes(array, datatypes[name]))
        size = {"binary_data_size": len(blobs[-1])}
        tensors.append({"name": name, "datatype": datatypes[name], "shape": list(array.shape), "parameters": size})
    wanted = [each.name for each in signature.outputs] if output is None else [output]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in wanted]
    return orjson.dumps({"inputs": tensors, "outputs": outputs}), *blobs


def read_response(body: bytes, header_length: bytes | None) -> dict[str, NDArray[Any]]:
    """The outputs of an answer, by name.

    Raises:
        Malformed: the body breaks the protocol.
    """
    head, tail = _split(body, header_length)
    return read_tensors(_decode(_response_decoder, head).outputs, tail)


def _split(body: bytes, header_length: bytes | None) -> tuple[memoryview, memoryview]:
    view = memoryview(body)
    if header_length is None:
        return view, memoryview(b"")
    if not _DECIMAL.fullmatch(header_length.strip()) or int(header_length) > len(body):
        found = quote(header_length.decode("latin-1"))
        message = f"Inference-Header-Content-Length: found {found}; allowed: 0 to {len(body)}, the body's length"
        raise Malformed(message)
    head, tail = view[: int(header_length)], view[int(header_length) :]
    # Tensors that are kept keep the bytes they lie in: never those of a head that is longer than they are.
    return head, memoryview(bytes(tail)) if len(tail) < len(head) else tail


def _decode(decoder: msgspec.json.Decoder[_Message], text: memoryview) -> _Message:
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


def check_inputs(tensors: Sequence[InputTensor], signature: Signature) -> None:
    """See that these are inputs of the model, of its datatypes and shapes.

    Raises:
        Malformed: one is not.
    """
    for tensor in tensors:
        declared = signature.inputs_by_name.get(tensor.name)
        if declared is None:
            message = f"input {quote(tensor.name)} is unknown; the model takes {_names(signature.inputs)}"
            raise Malformed(message)
        _check_against(tensor, declared)


def in_order(arrays: Tensors, signature: Signature) -> Tensors:
    """The inputs in the model's order.

    Raises:
        Malformed: one is missing.
    """
    if len(arrays) < len(signature.inputs):
        missing = next(each.name for each in signature.inputs if each.name not in arrays)
        message = f"input {quote(missing)} is missing; the model takes {_names(signature.inputs)}"
        raise Malformed(message)
    return {name: arrays[name] for name in signature.inputs_by_name}


def wanted_outputs(outputs: Sequence[RequestedOutput], signature: Signature) -> tuple[RequestedOutput, ...]:
    """The outputs that were asked for: all, if none is named.

    Raises:
        Malformed: one is unknown, named twice, or wanted in a form that is not spoken here.
    """
    if not outputs:
        return signature.all_outputs
    seen: set[str] = set()
    for each in outputs:
        if each.name not in signature.outputs_by_name:
            message = f"output {quote(each.name)} is unknown; the model gives {_names(signature.outputs)}"
            raise Malformed(message)
        if each.name in seen:
            message = f"output {quote(each.name)} is named twice"
            raise Malformed(message)
        seen.add(each.name)
        if each.parameters.get("classification"):
            message = f"output {quote(each.name)}: the classification extension is not spoken here"
            raise Malformed(message)
        _refuse_shared_memory(f"output {quote(each.name)}", each.parameters)
    return tuple(outputs)


def _refuse_shared_memory(where: str, parameters: Parameters) -> None:
    if "shared_memory_region" in parameters:
        message = f"{where}: the shared memory extension is not spoken here"
        raise Malformed(message)


def _check_against(tensor: InputTensor, declared: TensorMetadata) -> None:
    if tensor.parameters:
        _refuse_shared_memory(f"input {quote(tensor.name)}", tensor.parameters)
    if tensor.datatype != declared.datatype:
        found = quote(tensor.datatype)
        message = f"input {quote(tensor.name)}: found datatype {found}; allowed: {declared.datatype}"
        raise Malformed(message)
    # A negative dimension is refused where the elements are counted; here it must not pass as one that varies.
    is_fitting = len(tensor.shape) == len(declared.shape) and all(
        want in (have, -1) for have, want in zip(tensor.shape, declared.shape, strict=True)
    )
    if not is_fitting:
        found, allowed = shape_text(tensor.shape), shape_text(declared.shape)
        message = f"input {quote(tensor.name)}: found shape {found}; allowed: {allowed}, where -1 varies"
        raise Malformed(message)


def _wanted(message: InferenceRequest, signature: Signature) -> tuple[tuple[str, bool], ...]:
    is_binary_by_default = message.parameters.get("binary_data_output") is True
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
    return Request({declared.name: array}, tuple((each.name, True) for each in signature.outputs))


def _complete(shape: Sequence[int], count: int) -> list[int]:
    """`shape` with its last varying dimension made to hold `count` elements, the other varying ones 1."""
    complete = [1 if size < 0 else size for size in shape]
    varying = [axis for axis, size in enumerate(shape) if size < 0]
    if varying:
        complete[varying[-1]] = count // max(1, math.prod(complete))
    return complete


def _names(tensors: Sequence[TensorMetadata]) -> str:
    return ", ".join(quote(each.name) for each in tensors[:20])
