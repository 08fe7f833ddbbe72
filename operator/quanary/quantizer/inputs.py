"""What a run starts from, fetched, verified, and checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.artifacts.fetch import DATA_LIMIT_BYTES, MODEL_LIMIT_BYTES, fetch_or_use
from quanary.artifacts.verify import Wanted
from quanary.quantizer.certify import ACCURACY, AGREEMENT
from quanary.quantizer.data import LABEL, DataSet, digest_of_data, open_data
from quanary.quantizer.inference import Model, open_model
from quanary.quantizer.machine import cpu_limit
from quanary.quantizer.normalize import read_graph
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import RefusedError

MODEL: Final = "spec.model"
PROVIDED: Final = "spec.quantization.provided"
CALIBRATION: Final = "spec.quantization.calibration.data"
VALIDATION: Final = "spec.validation.data"


@dataclass(frozen=True)
class Inputs:
    """Verified and consistent. With a provided artifact there is nothing to calibrate."""

    model: Model
    model_sha256: str
    validation: DataSet
    calibration: DataSet | None
    provided: Model | None


def check_arguments(arguments: QuantizeArguments) -> None:
    """Refuse what argparse cannot.

    Raises:
        RefusedError: naming the field, the value and what is allowed.
    """
    if arguments.metric not in {AGREEMENT, ACCURACY}:
        raise RefusedError("spec.validation.metric", repr(arguments.metric), f"{AGREEMENT} or {ACCURACY}")
    if not 0 < arguments.max_drop <= 1:
        raise RefusedError("spec.validation.maxDrop", f"{arguments.max_drop}", "more than 0, at most 1")
    if not 0.5 <= arguments.confidence < 1:
        raise RefusedError("spec.validation.confidence", f"{arguments.confidence}", "0.5 to less than 1")
    if arguments.samples < 1:
        raise RefusedError("spec.quantization.calibration.samples", f"{arguments.samples}", "1 or more")
    if arguments.threads < 0:
        raise RefusedError("--threads", f"{arguments.threads}", "0 or more")
    if arguments.min_speedup <= 0:
        raise RefusedError("spec.benefit.minSpeedup", f"{arguments.min_speedup}", "more than 0")
    if not (arguments.calibration or arguments.provided):
        raise RefusedError(CALIBRATION, "none", "calibration data, or a provided INT8 model")


def threads_of(arguments: QuantizeArguments) -> int:
    """Threads of one inference, as in a serving pod of the same CPU limit."""
    return arguments.threads or cpu_limit()


def gather(arguments: QuantizeArguments, work: Path) -> Inputs:
    """Fetch everything into `work`; local files are used where they are.

    Raises:
        RefusedError, UnreachableError: see `fetch`, `open_model`, `open_data`.
    """
    model, sha256 = _model(arguments, Wanted(arguments.model, arguments.model_sha256, MODEL), work / "model.onnx")
    provided = None
    if arguments.provided:
        wanted = Wanted(arguments.provided, arguments.provided_sha256, PROVIDED)
        provided, _ = _model(arguments, wanted, work / "provided.onnx")
        _require_same_signature(model, provided)
    calibration = None
    if not provided:
        wanted = Wanted(arguments.calibration, arguments.calibration_sha256, CALIBRATION)
        calibration = _data(arguments, wanted, work / "calibration.tar", model)
    wanted = Wanted(arguments.validation, arguments.validation_sha256, VALIDATION)
    validation = _data(arguments, wanted, work / "validation.tar", model)
    if arguments.metric == ACCURACY and not validation.has_label:
        found = f"{validation.path.name} without an array `{LABEL}`"
        raise RefusedError(f"{VALIDATION}.uri", found, f"labels, or metric {AGREEMENT}")
    return Inputs(model, sha256, validation, calibration, provided)


def _model(arguments: QuantizeArguments, wanted: Wanted, to: Path) -> tuple[Model, str]:
    hosts = frozenset(arguments.insecure_host)
    fetched = fetch_or_use(wanted, to, hosts, MODEL_LIMIT_BYTES, ".onnx")
    read_graph(fetched.path, f"{wanted.field}.uri")
    return open_model(fetched.path, f"{wanted.field}.uri", threads_of(arguments)), fetched.sha256


def _data(arguments: QuantizeArguments, wanted: Wanted, to: Path, model: Model) -> DataSet:
    if Path(wanted.uri).is_dir():
        sha256 = digest_of_data(Path(wanted.uri))
        if wanted.sha256 and sha256 != wanted.sha256:
            raise wanted.refuse_digest(sha256)
        return open_data(Path(wanted.uri), sha256, wanted.field, model.inputs)
    fetched = fetch_or_use(wanted, to, frozenset(arguments.insecure_host), DATA_LIMIT_BYTES, ".tar")
    return open_data(fetched.path, fetched.sha256, wanted.field, model.inputs)


def _require_same_signature(model: Model, provided: Model) -> None:
    """A client must not see which variant answers."""
    for ours, theirs in ((model.inputs, provided.inputs), (model.outputs, provided.outputs)):
        if [(each.name, each.dtype) for each in ours] != [(each.name, each.dtype) for each in theirs]:
            found = ", ".join(each.text for each in theirs)
            raise RefusedError(f"{PROVIDED}.uri", found, ", ".join(each.text for each in ours))
