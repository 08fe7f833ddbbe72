"""Weights in files beside the model: which files may be read, and what the model is as a whole.

Nothing here follows a link: a name is opened once, by descriptor, and what was opened is what is checked.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import onnx
from onnx import ModelProto, TensorProto

from quanary.artifacts.verify import digest_of
from quanary.quantizer.graph.limits import Refuse, bytes_of
from quanary.quantizer.graph.walk import tensors_of

FILES: Final = 1000
ALLOWED_LOCATION: Final = "the plain name of a regular file beside the model, no link"

_KEYS: Final = frozenset({"location", "offset", "length", "checksum"})
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Span:
    """Where one tensor lies."""

    tensor: str
    location: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.length


def is_external(tensor: TensorProto) -> bool:
    """Whether its content is in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def check_external(model: ModelProto, folder: Path, refuse: Refuse) -> None:
    """Refuse references that leave the folder, or lie about what is there. Opens the files, reads nothing.

    Raises:
        RefusedError: naming the tensor and its reference.
    """
    spans = [span_of(each, refuse) for each in tensors_of(model) if is_external(each)]
    locations = sorted({each.location for each in spans})
    if len(locations) > FILES:
        raise refuse(f"weights in {len(locations)} files", f"at most {FILES}")
    for location in locations:
        with open_beside(folder, location, refuse) as file:
            size = os.fstat(file.fileno()).st_size
        _check_spans([each for each in spans if each.location == location], size, refuse)


def span_of(tensor: TensorProto, refuse: Refuse) -> Span:
    """The reference of an external tensor; a length that it leaves out follows from its shape.

    Raises:
        RefusedError: unknown, repeated or malformed entries, or a length other than shape and type say.
    """
    what = f"weights {tensor.name[:80]!r} in external data"
    keys = [each.key for each in tensor.external_data]
    if unknown := sorted(set(keys) - _KEYS):
        raise refuse(f"{what} with an entry {unknown[0][:80]!r}", ", ".join(sorted(_KEYS)))
    if len(set(keys)) != len(keys) or "location" not in keys:
        raise refuse(f"{what} with entries {', '.join(keys)}", "one location, at most one offset and length")
    entries = {each.key: each.value for each in tensor.external_data}
    for key in ("offset", "length"):
        if not _NUMBER.fullmatch(entries.get(key, "0")):
            raise refuse(f"{what} at {key} {entries[key][:40]!r}", "a whole number, 0 or more")
    location = entries["location"]
    if not is_plain(location):
        raise refuse(f"{what} at {location[:200]!r}", ALLOWED_LOCATION)
    declared = bytes_of(tensor)
    length = int(entries.get("length", declared))
    if tensor.data_type == TensorProto.STRING or length != declared or _has_content(tensor):
        raise refuse(f"{what} of {length} bytes", f"{declared} bytes, as its shape and type say, and no others")
    return Span(tensor.name, location, int(entries.get("offset", 0)), length)


@contextmanager
def open_beside(folder: Path, name: str, refuse: Refuse) -> Iterator[BinaryIO]:
    """A regular file of `folder` that has no other name.

    Raises:
        RefusedError: it is missing, a link, or shared.
    """
    if not is_plain(name):
        raise refuse(f"external data at {name[:200]!r}", ALLOWED_LOCATION)
    try:
        # A pipe would block the open for ever.
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        found = "a symbolic link" if (folder / name).is_symlink() else (error.strerror or str(error)).lower()
        raise refuse(f"external data at {name!r}: {found}", ALLOWED_LOCATION) from error
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise refuse(f"external data at {name!r}: no regular file", ALLOWED_LOCATION)
        if state.st_nlink > 1:
            raise refuse(
                f"external data at {name!r}: a file with {state.st_nlink} names (hard links)", ALLOWED_LOCATION
            )
        yield file


def files_of(path: Path) -> tuple[Path, ...]:
    """A model's file and those its weights are in, of a model that was read."""
    model = onnx.load(path, load_external_data=False)
    names = {entry.value for each in tensors_of(model) for entry in each.external_data if entry.key == "location"}
    return (path, *(path.parent / name for name in sorted(names)))


def size_of(path: Path) -> int:
    """Bytes of a model, weights in other files included."""
    return sum(each.stat().st_size for each in files_of(path))


def identity_of(files: Iterable[Path]) -> str:
    """sha256 of a model: of its file, or of the sorted list of `<sha256>  <name>` lines if there are several."""
    paths = sorted(files)
    if len(paths) == 1:
        return digest_of(paths[0])
    lines = sorted((path.name, digest_of(path)) for path in paths)
    manifest = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return hashlib.sha256(manifest.encode()).hexdigest()


def is_plain(name: str) -> bool:
    """No folders: `..`, absolute and hidden tricks with separators cannot be spelt."""
    printable = name.isprintable() and len(name.encode()) <= 255
    return bool(name) and printable and name not in {".", ".."} and not set(name) & {"/", "\\", "\0"}


def _has_content(tensor: TensorProto) -> bool:
    return tensor.HasField("raw_data") and bool(tensor.raw_data)


def _check_spans(spans: list[Span], size: int, refuse: Refuse) -> None:
    """Inside the file, and apart: tensors may be the same bytes, or none of the same."""
    before: Span | None = None
    for span in sorted(spans, key=lambda each: (each.offset, each.end)):
        what = f"weights {span.tensor[:80]!r} at {span.offset} to {span.end} of {span.location!r}"
        if span.end > size:
            raise refuse(what, f"inside the file of {size} bytes")
        if before and span.offset < before.end and (span.offset, span.end) != (before.offset, before.end):
            raise refuse(f"{what}, over {before.tensor[:80]!r}", "tensors that do not overlap")
        if span.length:
            before = span
