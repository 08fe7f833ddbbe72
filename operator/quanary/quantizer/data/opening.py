"""Open a data set, wherever and in whatever format it is, and check it against a model's inputs."""

import hashlib
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from quanary.artifacts.fetch import DATA_LIMIT_BYTES, fetch_or_use, local_path
from quanary.artifacts.verify import Wanted, digest_of
from quanary.quantizer.data.entry import is_entry, open_entry
from quanary.quantizer.data.samples import LABEL, SAMPLES_LIMIT, DataSet, Sample
from quanary.quantizer.data.shapes import Contents
from quanary.quantizer.data.shards import ALLOWED, Format, files_of, open_shards
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError

FILE_ENDS: Final = (".tar", ".tar.gz", ".tgz", Format.PARQUET, Format.NPZ)

# Imported where they are needed: one of them brings a library that takes long to load.
_READERS: Final = {Format.NPZ: "quanary.quantizer.data.npz", Format.PARQUET: "quanary.quantizer.data.parquet"}


def gather_data(
    wanted: Wanted, to: Path, inputs: tuple[TensorSpec, ...], *, insecure_hosts: frozenset[str], code: bool = False
) -> DataSet:
    """Fetch a data set to `to`, or use a local one where it is, verify its digest and open it.

    `code` lets `module:function` or `file.py:function` be imported and run: for a person at a command line, never for
    what a resource names.

    Raises:
        RefusedError, UnreachableError: see `fetch`; see `open_data`.
    """
    if is_entry(wanted.uri):
        if not code:
            raise wanted.refuse_uri(f"{wanted.uri!r}, which would run code", f"{ALLOWED}, or a URI of a file")
        data = open_entry(wanted.uri, wanted.field, inputs)
        if wanted.sha256 and data.sha256 != wanted.sha256:
            raise wanted.refuse_digest(data.sha256)
        return data
    folder = local_path(wanted)
    if folder is not None and folder.is_dir():
        sha256 = digest_of_data(folder)
        if wanted.sha256 and sha256 != wanted.sha256:
            raise wanted.refuse_digest(sha256)
        return open_data(folder, sha256, wanted.field, inputs)
    fetched = fetch_or_use(wanted, to, insecure_hosts, DATA_LIMIT_BYTES, FILE_ENDS)
    return open_data(fetched.path, fetched.sha256, wanted.field, inputs)


def open_data(path: Path, sha256: str, field: str, inputs: tuple[TensorSpec, ...]) -> DataSet:
    """Check the heads of all shards of a local folder or file against a model's inputs.

    Raises:
        RefusedError: naming the shard, the array, what it is and what the model takes.
    """
    found: list[tuple[str, Contents]] = []
    total = 0
    for shard in open_shards(path, field):
        contents: Contents = _reader(shard.format).inspect(shard, inputs, field)
        total += contents.samples
        if total > SAMPLES_LIMIT:
            raise RefusedError(f"{field}.uri", f"shard {shard.name}: {total} samples so far", f"{SAMPLES_LIMIT} in all")
        found.append((shard.name, contents))
    if not total:
        raise RefusedError(f"{field}.uri", f"no samples in {path}", ALLOWED)
    label, has_group = _require_same_extras(found, field)
    counts = tuple((name, contents.samples) for name, contents in found)
    return DataSet(path, sha256, field, counts, bool(label), has_group, partial(_stream, path, field, inputs))


def _reader(form: Format) -> ModuleType:
    return import_module(_READERS[form])


def digest_of_data(path: Path) -> str:
    """Of a file: its own. Of a folder: of its sorted `<sha256>  <name>` lines."""
    if path.is_file():
        return digest_of(path)
    lines = (f"{digest_of(shard)}  {shard.relative_to(path).as_posix()}\n" for shard in files_of(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _stream(path: Path, field: str, inputs: tuple[TensorSpec, ...]) -> Iterator[Sample]:
    for shard in open_shards(path, field):
        yield from _reader(shard.format).read(shard, inputs, field)


def _require_same_extras(found: list[tuple[str, Contents]], field: str) -> tuple[str, bool]:
    """Shards without samples have no say: they may lack what they have no values for."""
    filled = [(name, contents) for name, contents in found if contents.samples]
    first_name, first = filled[0]
    for name, contents in filled:
        if contents.label != first.label:
            missing = [each for each, other in ((name, contents), (first_name, first)) if not other.label]
            what = f"shard {missing[0]} without `{LABEL}`" if missing else _differing(first, contents, first_name, name)
            raise RefusedError(f"{field}.uri", what, f"the same kind of `{LABEL}` in all shards, or none in any")
        if contents.has_group != first.has_group:
            lacking = name if first.has_group else first_name
            raise RefusedError(f"{field}.uri", f"shard {lacking} without `group`", "`group` in all shards or in none")
    return first.label, first.has_group


def _differing(first: Contents, second: Contents, first_name: str, second_name: str) -> str:
    return f"{LABEL} {first.label} in shard {first_name}, {second.label} in shard {second_name}"
