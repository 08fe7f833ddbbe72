"""`quanary repository`: the model repository that Triton serves one model from.

    OUT/NAME/config.pbtxt
    OUT/NAME/1/model.onnx    a hard link to the verified file, so that it costs no space

The configuration says everything itself: what Triton would guess depends on its release, and a guessed batch limit
refuses requests that the model could answer.
"""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from quanary.server.engine.sweep import plan
from quanary.server.machine import threads_allowed
from quanary.server.messages import Signature
from quanary.server.session import Session, UnservableModel, read_model
from quanary.wire.inference import MODEL_VERSION, TensorMetadata
from quanary.wire.launch import RepositoryArguments
from quanary.wire.report import RefusedError

REFUSED: Final = 1
FILE_NAME: Final = "model.onnx"
# Of one request. Triton refuses a larger one by itself; what bounds a request here is its size in bytes, at the front.
LARGEST_ROWS: Final = 65_536

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')


def main(argv: Sequence[str]) -> int:
    """0: the repository is there. 1: refused, with the reason in the termination log."""
    arguments = RepositoryArguments.parse(argv)
    try:
        config = write_repository(arguments)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        if arguments.termination_log:
            Path(arguments.termination_log).write_text(error.refusal.to_message())
        return REFUSED
    print(config, file=sys.stderr)
    return 0


def write_repository(arguments: RepositoryArguments) -> str:
    """Write it, over what an earlier try left; the text of config.pbtxt.

    Raises:
        RefusedError: the model cannot be served, or cannot be linked there.
    """
    if not _NAME.fullmatch(arguments.name):
        raise RefusedError("--name", arguments.name, "letters, digits, dots, dashes and underscores")
    try:
        config = _config(arguments)
    except UnservableModel as error:
        raise RefusedError(arguments.field, str(error), "a model that Triton can serve") from error
    folder = Path(arguments.out, arguments.name)
    _link(Path(arguments.model), folder / MODEL_VERSION / FILE_NAME)
    (folder / "config.pbtxt").write_text(config)
    return config


def _config(arguments: RepositoryArguments) -> str:
    threads = arguments.threads or threads_allowed()
    session = Session(read_model(Path(arguments.model)), threads)
    try:
        session.warm_up()
    except Exception as error:  # noqa: BLE001  zeros may be no sensible input, and Triton ends if its warm-up fails
        print(f"warm-up failed, so Triton will have none: {error}", file=sys.stderr)
        return render_config(arguments.name, session.signature, threads=threads, batch=1, is_warmed_up=False)
    batch = plan(session, arguments.max_batch, arguments.latency_budget_seconds / 2).limit.rows
    return render_config(arguments.name, session.signature, threads=threads, batch=batch, is_warmed_up=True)


def _link(model: Path, link: Path) -> None:
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.hardlink_to(model)
    except OSError as error:
        found = f"{link}: {error.strerror or error}"
        raise RefusedError("--out", found, f"a folder on the volume of {model} that may be written") from error


def render_config(name: str, signature: Signature, *, threads: int, batch: int, is_warmed_up: bool) -> str:
    """config.pbtxt: up to `batch` rows that wait when the model is free are one inference.

    Raises:
        UnservableModel: a tensor that Triton has no shape for.
    """
    # Triton takes the first axis away where it puts requests together, and has no tensors without one.
    is_batched = batch > 1 and all(len(each.shape) > 1 for each in (*signature.inputs, *signature.outputs))
    lines = [
        f"name: {_text(name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_text(FILE_NAME)}",
        f"max_batch_size: {LARGEST_ROWS if is_batched else 0}",
        f"version_policy {{ specific {{ versions: [ {MODEL_VERSION} ] }} }}",
        *_tensors("input", signature.inputs, is_batched=is_batched),
        *_tensors("output", signature.outputs, is_batched=is_batched),
        "instance_group [ { count: 1 kind: KIND_CPU } ]",
        *_parameters(intra_op_thread_count=threads, inter_op_thread_count=1, execution_mode=0),
        *(
            [f"dynamic_batching {{ preferred_batch_size: [ {batch} ] max_queue_delay_microseconds: 0 }}"]
            if is_batched
            else ()
        ),
        *(_warm_up(signature.inputs, is_batched=is_batched) if is_warmed_up else ()),
    ]
    return "\n".join(lines) + "\n"


def _tensors(field: str, tensors: Sequence[TensorMetadata], *, is_batched: bool) -> Iterator[str]:
    for each in tensors:
        dims = _dims(each, is_batched=is_batched)
        yield f"{field} {{ name: {_text(each.name)} data_type: {_type(each)} dims: {_list(dims)} }}"


def _parameters(**values: int) -> Iterator[str]:
    for key, value in values.items():
        yield f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'


def _warm_up(inputs: Sequence[TensorMetadata], *, is_batched: bool) -> Iterator[str]:
    yield 'model_warmup { name: "zeros" batch_size: 1'
    for each in inputs:
        dims = [1 if size < 0 else size for size in _dims(each, is_batched=is_batched)]
        value = f"data_type: {_type(each)} dims: {_list(dims)} zero_data: true"
        yield f"  inputs {{ key: {_text(each.name)} value {{ {value} }} }}"
    yield "}"


def _dims(tensor: TensorMetadata, *, is_batched: bool) -> tuple[int, ...]:
    dims = tensor.shape[1:] if is_batched else tensor.shape
    if not math.prod(dims):
        message = f"tensor {tensor.name!r}: found shape {list(tensor.shape)}; allowed: no dimension of 0"
        raise UnservableModel(message)
    # Triton has no scalars: it takes and gives them as one element.
    return dims or (1,)


def _type(tensor: TensorMetadata) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def _list(sizes: Sequence[int]) -> str:
    return f"[ {', '.join(str(size) for size in sizes)} ]"


def _text(value: str) -> str:
    """A string of the text format: tensor names may hold anything, and must not end their quotes."""
    return '"' + "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in value.encode()) + '"'


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
