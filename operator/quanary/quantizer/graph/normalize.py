"""Bring a graph into the form that quantizes well, and prove that it still computes the same.

Each step answers a failure of the quantizer below: opset < 13 with per-channel weights cannot be loaded, a Gemm bias
of shape [1, N] raises, constants outside initializers stay float, nodes without a unique name cannot be named, and
branches are silently passed over.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quanary.quantizer.graph.confine import ConfinedError, Limits, confine, limits_for
from quanary.quantizer.graph.equality import Feed
from quanary.quantizer.graph.external import files_of, identity_of
from quanary.quantizer.graph.limits import SOURCE_BYTES
from quanary.quantizer.graph.read import FIELD, read_graph
from quanary.quantizer.graph.rebuild import Request, rebuild
from quanary.quantizer.graph.shapes import LADDER
from quanary.quantizer.graph.source import locate_model
from quanary.quantizer.inference import Model, answers_of, open_model
from quanary.wire.report import RefusedError

if TYPE_CHECKING:  # the confined process has no use for readers of data
    from quanary.quantizer.data import Sample

DATA_FIELD: Final = "spec.quantization.calibration.data.uri"
NORMALIZED_FILE: Final = "normalized.onnx"
UNPACKED_FOLDER: Final = "unpacked"
_MORE_MEMORY: Final = "for a large one raise spec.runtime.resources.memory"
# Of what a step does: raised when the same source may come out otherwise, so that caches notice.
VERSION: Final = 2


@dataclass(frozen=True)
class Admitted:
    """A model that was let in: the file to open, and the digest of all its files (`identity_of`)."""

    path: Path
    sha256: str
    unpacked: bool


@dataclass(frozen=True)
class Normalized:
    """A graph ready for the quantizer. `sha256`: of its file, or of the manifest of its files (`identity_of`)."""

    path: Path
    opset_found: int
    opset: int
    steps: tuple[str, ...]
    largest_difference: float
    core_in_subgraphs: int
    sha256: str


def admit(path: Path, work: Path, field: str = FIELD) -> Admitted:
    """Let a model in: find it, read it, check it, load it, all in a process of its own.

    `path` is its file, a folder or a tar (`locate_model`). Before this nobody may open it with anything that
    understands it.

    Raises:
        RefusedError: on `field`: see `read_graph` and `open_model`; or loading takes too long, too much memory, or
            kills the process.
    """
    unpacked = work.absolute() / UNPACKED_FOLDER
    try:
        found, sha256 = confine(_load, path.absolute(), unpacked, field, limits=_limits(path), work=work)
    except ConfinedError as error:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise RefusedError(
            field, f"a model that cannot be loaded: {error}", f"a valid ONNX model of sane size; {_MORE_MEMORY}"
        ) from error
    except RefusedError:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    return Admitted(Path(found), sha256, unpacked.is_dir())


def rehearse(path: Path, samples: "Sequence[Sample]", work: Path, field: str = FIELD) -> None:
    """Run an admitted model on a few samples in a process of its own, before this one does.

    `normalize` does as much; this is for a model that is not normalised.

    Raises:
        RefusedError: on `field`: it rejects a sample, takes too long, too much memory, or kills the process.
    """
    feeds = [(each.where, each.feed) for each in samples]
    try:
        confine(_run, path.absolute(), field, feeds, limits=_limits(path), work=work)
    except ConfinedError as error:
        raise RefusedError(field, f"a model that cannot be run: {error}", "a model that answers its samples") from error


def normalize(source: Model, work: Path, samples: "Sequence[Sample]", opset: int = 17) -> Normalized:
    """A normalised copy of `source` in `work`, equal to it on `samples`; the same model gives the same bytes.

    Opset 17 serves 8-bit activations; 21 is for 16-bit.

    Raises:
        RefusedError: nothing to quantize, quantized already, or no way to normalise keeps the outputs.
    """
    if not samples:
        raise RefusedError(DATA_FIELD, "no samples to prove it equal on", "one sample or more")
    to = work / NORMALIZED_FILE
    request = Request(source.path.absolute(), to.absolute(), opset, [(each.where, each.feed) for each in samples])
    fields = _rebuild(request, work)
    return Normalized(path=to, **fields | {"steps": tuple(fields["steps"])})


def _rebuild(request: Request, work: Path) -> dict[str, Any]:
    """With the whole ladder; if that kills the process or never ends, with its last rung, that asks least."""
    failures = []
    for ladder in (LADDER, LADDER[-1:]):
        try:
            fields: dict[str, Any] = confine(rebuild, request, ladder, limits=_limits(request.source), work=work)
        except ConfinedError as error:
            failures.append(str(error))
        else:
            return fields
    found = f"a graph that cannot be normalised ({'; '.join(dict.fromkeys(failures))})"
    allowed = f"a graph that ONNX Runtime can optimise and run: export it at opset 17; {_MORE_MEMORY}"
    raise RefusedError(FIELD, found, allowed)


def _load(path: Path, unpacked: Path, field: str) -> tuple[str, str]:
    found = locate_model(path, unpacked, lambda *words: RefusedError(field, *words))
    read_graph(found, field)
    open_model(found, field)
    return str(found), identity_of(files_of(found))


def _run(path: Path, field: str, feeds: "Sequence[tuple[str, Feed]]") -> None:
    model = open_model(path, field)
    for where, feed in feeds:
        answers_of(model, feed, where, field)


def _limits(path: Path) -> Limits:
    """In proportion to the model and all that lies beside it: what it refers to is not known before it is read."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    beside = sum(each.stat().st_size for each in folder.iterdir() if each.is_file())
    return limits_for(min(beside, SOURCE_BYTES))
