"""A Python function as a data set, for what is neither .npz nor Parquet: `module:function`, `path/file.py:function`.

It runs with everything its caller may do, so only a person at a command line may name one.
"""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from quanary.quantizer.data.samples import GROUP, LABEL, SAMPLES_LIMIT, DataSet, Sample, group_of, require_finite
from quanary.quantizer.data.shapes import (
    LABEL_ALLOWED,
    LABEL_KINDS,
    input_shape,
    is_dtype,
    keys_of,
    refuse_misspelt,
)
from quanary.quantizer.inference import Array, TensorSpec
from quanary.wire.report import RefusedError

_ENTRY: Final = re.compile(r"(?P<place>[^:]+\.py|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")
_ALLOWED: Final = "module:function or file.py:function that yields mappings of input names (and label, group) to arrays"

Rows = Callable[[], Any]


def is_entry(text: str) -> bool:
    """Whether it names a function, and is no path of something that is there."""
    return _ENTRY.fullmatch(text) is not None and not Path(text).exists()


def open_entry(text: str, field: str, inputs: tuple[TensorSpec, ...]) -> DataSet:
    """Import the function and read everything it yields once; only digests are kept, and each reading must repeat them.

    Raises:
        RefusedError: it is not there, fails, or yields what the model does not take; the sample is named.
    """
    function = _function(text, field)
    digests: list[bytes] = []
    hasher = hashlib.sha256()
    has_label = has_group = False
    for sample in _samples(text, function, field, inputs):
        require_finite(sample, field)
        extras = sample.label is not None, sample.group is not None
        if digests and extras != (has_label, has_group):
            found = f"{sample.where}: {LABEL} and {GROUP} not as in the samples before"
            raise RefusedError(f"{field}.uri", found, "each with all samples, or with none")
        has_label, has_group = extras
        digests.append(sample.digest)
        hasher.update(_identity(sample))
        if len(digests) > SAMPLES_LIMIT:
            raise RefusedError(f"{field}.uri", f"{text}: more than {SAMPLES_LIMIT} samples", "fewer")
    if not digests:
        raise RefusedError(f"{field}.uri", f"{text}: no samples", _ALLOWED)
    stream = partial(_repeated, text, function, field, inputs, tuple(digests))
    return DataSet(Path(text), hasher.hexdigest(), field, ((text, len(digests)),), has_label, has_group, stream)


def _identity(sample: Sample) -> bytes:
    label = b"" if sample.label is None else repr(sample.label.tolist()).encode()
    return b"\0".join((sample.digest, label, sample.group or b"")) + b"\n"


def _function(text: str, field: str) -> Rows:
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise RefusedError(f"{field}.uri", repr(text), _ALLOWED)
    try:
        function = getattr(_module(match["place"]), match["function"])
    except (ImportError, AttributeError, OSError, SyntaxError) as error:
        raise RefusedError(f"{field}.uri", f"{text}: {error}", _ALLOWED) from error
    if not callable(function):
        raise RefusedError(f"{field}.uri", f"{text}: a {type(function).__name__}", _ALLOWED)
    return function  # type: ignore[no-any-return]


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place).resolve()
    name = f"quanary_entry_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{place} is no Python file"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses and pickles look their module up here.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _repeated(
    text: str, function: Rows, field: str, inputs: tuple[TensorSpec, ...], digests: tuple[bytes, ...]
) -> Iterator[Sample]:
    for sample, digest in zip(_samples(text, function, field, inputs), digests, strict=False):
        if sample.digest != digest:
            found = f"{sample.where}: another sample than in the first reading"
            raise RefusedError(f"{field}.uri", found, "the same samples in the same order each time")
        yield sample


def _samples(text: str, function: Rows, field: str, inputs: tuple[TensorSpec, ...]) -> Iterator[Sample]:
    index = 0
    try:
        for row in function():
            yield _sample(text, index, row, field, inputs)
            index += 1
    except RefusedError:
        raise
    except Exception as error:
        found = f"shard {text}, sample {index}: {type(error).__name__}: {error}"
        raise RefusedError(f"{field}.uri", found, _ALLOWED) from error


def _sample(text: str, index: int, row: object, field: str, inputs: tuple[TensorSpec, ...]) -> Sample:
    where = f"shard {text}, sample {index}"
    if not isinstance(row, Mapping):
        raise RefusedError(f"{field}.uri", f"{where}: a {type(row).__name__}", _ALLOWED)
    refuse_misspelt(row, inputs, where, field)
    has_label, has_group = keys_of(row, inputs)
    label = np.asarray(row[LABEL]) if has_label else None
    if label is not None and label.dtype.kind not in LABEL_KINDS:
        raise RefusedError(f"{field}.uri", f"{where}: {LABEL} {label.dtype}{list(label.shape)}", LABEL_ALLOWED)
    feed = {spec.name: _input(row, spec, where, field) for spec in inputs}
    return Sample(text, index, feed, label, group_of(np.asarray(row[GROUP]).tolist()) if has_group else None)


def _input(row: Mapping[str, object], spec: TensorSpec, where: str, field: str) -> Array:
    if spec.name not in row:
        found = f"{where}: a mapping with keys {', '.join(map(str, row)) or 'none'}"
        raise RefusedError(f"{field}.uri", found, f"an array for every input: {spec.text}")
    array = np.asarray(row[spec.name])
    shape = input_shape(array.shape, spec)
    if not is_dtype(array.dtype, spec) or shape is None:
        found = f"{where}: {spec.name} {array.dtype}{list(array.shape)}"
        raise RefusedError(f"{field}.uri", found, f"{spec.text}, one sample, with or without a batch axis of one")
    # A copy: the function may fill the same array again for its next sample.
    copied = array.reshape(shape).copy(order="C")
    return copied.astype(object) if spec.dtype == "object" else copied
