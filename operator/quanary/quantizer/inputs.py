"""What a run starts from, fetched, verified, and checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.artifacts.fetch import fetch_or_use
from quanary.artifacts.verify import Wanted
from quanary.quantizer.certify import LEDGER_FILE, Metric, by_content, open_metric, read_ledger
from quanary.quantizer.data import LABEL, Content, DataSet, content_of, distinct, gather_data
from quanary.quantizer.graph import SOURCE_BYTES, admit, rehearse
from quanary.quantizer.inference import Model, TensorSpec, open_model
from quanary.quantizer.machine import threads_of
from quanary.quantizer.search.space import check_choices
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Opening, RefusedError

MODEL: Final = "spec.model"
PROVIDED: Final = "spec.quantization.provided"
CALIBRATION: Final = "spec.quantization.calibration.data"
VALIDATION: Final = "spec.validation.data"
# Keys of the model's metadata; the second is PaddleOCR's.
VOCABULARY: Final = ("vocabulary", "character")
# Which layer of an OCI manifest is the model, if no digest says so.
MODEL_ENDS: Final = (".onnx", ".tar")

_REHEARSED: Final = 4  # samples
_STRATEGIES: Final = ("auto", "static", "dynamic", "provided")
_BOUNDS: Final = {
    "max_drop": ("spec.validation.maxDrop", 1e-9, 1.0),
    "confidence": ("spec.validation.confidence", 0.5, 0.9999),
    "samples": ("spec.quantization.calibration.samples", 1, 100_000),
    "max_evaluations": ("spec.quantization.maxEvaluations", 1, 10_000),
    "min_speedup": ("spec.benefit.minSpeedup", 0.01, 100.0),
    "min_size_reduction": ("spec.benefit.minSizeReduction", 0.0, 1.0),
    "search_seconds": ("--search-seconds", 0.0, 86_400.0),
    "threads": ("--threads", 0, 1024),
    "batch": ("--batch", 1, 4096),
}


@dataclass(frozen=True)
class Inputs:
    """Verified and consistent. With a provided artifact there is nothing to calibrate."""

    model: Model
    model_sha256: str
    validation: DataSet
    sealed: Content
    judges: DataSet  # each content of the sealed data once: what a certificate may count
    metric: Metric
    openings: tuple[Opening, ...]  # of any sealed data, earlier ones; of these by their content
    calibration: DataSet | None
    provided: Model | None


def check_arguments(arguments: QuantizeArguments) -> None:
    """Refuse what argparse cannot.

    Raises:
        RefusedError: naming the field, the value and what is allowed.
    """
    if arguments.strategy not in _STRATEGIES:
        raise RefusedError("spec.quantization.strategy", repr(arguments.strategy), ", ".join(_STRATEGIES))
    for name, (field, low, high) in _BOUNDS.items():
        if not low <= (value := getattr(arguments, name)) <= high:
            raise RefusedError(field, f"{value:g}", f"{low:g} to {high:g}")
    if arguments.provided and arguments.strategy not in {"auto", "provided"}:
        found = f"{arguments.strategy} with --provided, that is judged as it is"
        raise RefusedError("spec.quantization.strategy", found, "provided; or no --provided, and calibration data")
    if is_provided(arguments) != bool(arguments.provided):
        raise RefusedError("spec.quantization.strategy", "provided, without a model", "--provided INT8.onnx")
    if not (arguments.calibration or arguments.provided):
        raise RefusedError(CALIBRATION, "none", "calibration data, or a provided INT8 model")
    if not is_provided(arguments):
        check_choices(arguments)
    open_metric(arguments.metric, allow_code=may_import_code(arguments))


def is_provided(arguments: QuantizeArguments) -> bool:
    """Whether an INT8 model was brought along."""
    return bool(arguments.provided) or arguments.strategy == "provided"


def may_import_code(arguments: QuantizeArguments) -> bool:
    """A person at a terminal may name Python functions. A Job, that carries out what others wrote, may not."""
    return not arguments.inputs


def gather(arguments: QuantizeArguments, work: Path) -> Inputs:
    """Fetch everything into `work`; local files are used where they are.

    Raises:
        RefusedError, UnreachableError: see `fetch`, `admit`, `open_data`.
    """
    model, sha256 = _model(arguments, Wanted(arguments.model, arguments.model_sha256, MODEL), work / "model")
    provided = None
    if arguments.provided:
        wanted = Wanted(arguments.provided, arguments.provided_sha256, PROVIDED)
        provided, _ = _model(arguments, wanted, work / "provided")
        _require_same_signature(model, provided)
    calibration = None
    if not provided:
        wanted = Wanted(arguments.calibration, arguments.calibration_sha256, CALIBRATION)
        calibration = _data(arguments, wanted, work / "calibration", model)
    wanted = Wanted(arguments.validation, arguments.validation_sha256, VALIDATION)
    validation = _data(arguments, wanted, work / "validation", model)
    if provided:
        # What is normalised is run in safety there; this is not.
        for each, field in ((model, MODEL), (provided, PROVIDED)):
            rehearse(each.path, list(validation.read(_REHEARSED)), work, f"{field}.uri")
    metric = _metric(arguments, model)
    if metric.needs_label and not validation.has_label:
        raise RefusedError(
            f"{VALIDATION}.uri", f"{wanted.uri} without `{LABEL}`", f"labels for metric {metric.name}, or agreement"
        )
    sealed = content_of(validation)
    openings = read_ledger(Path(arguments.out) / LEDGER_FILE, arguments.seal_opening)
    return Inputs(
        openings=by_content(openings, validation.sha256, sealed.sha256),
        model=model,
        model_sha256=sha256,
        validation=validation,
        sealed=sealed,
        judges=distinct(validation, sealed),
        metric=metric,
        calibration=calibration,
        provided=provided,
    )


def _metric(arguments: QuantizeArguments, model: Model) -> Metric:
    """Text of each class, where a metric wants it, is in the model's metadata: a line a class."""
    metadata = model.session.get_modelmeta().custom_metadata_map
    words = next((metadata[key] for key in VOCABULARY if key in metadata), "")
    vocabulary = tuple(words.splitlines())
    return open_metric(arguments.metric, allow_code=may_import_code(arguments), vocabulary=vocabulary)


def _model(arguments: QuantizeArguments, wanted: Wanted, folder: Path) -> tuple[Model, str]:
    folder.mkdir()
    path = Path(wanted.uri)
    if not path.is_dir():
        hosts = frozenset(arguments.insecure_host)
        path = fetch_or_use(wanted, folder / "model.onnx", hosts, SOURCE_BYTES, MODEL_ENDS).path
    admitted = admit(path, folder, f"{wanted.field}.uri")
    # Of a tar every byte has been hashed on the way; of files beside each other only the first, and of a folder none.
    if not admitted.unpacked and wanted.sha256 not in {"", admitted.sha256}:
        raise wanted.refuse_digest(admitted.sha256)
    return open_model(admitted.path, f"{wanted.field}.uri", threads_of(arguments)), admitted.sha256


def _data(arguments: QuantizeArguments, wanted: Wanted, to: Path, model: Model) -> DataSet:
    hosts = frozenset(arguments.insecure_host)
    return gather_data(wanted, to, model.inputs, insecure_hosts=hosts, code=may_import_code(arguments))


def _require_same_signature(model: Model, provided: Model) -> None:
    """A client must not see which variant answers."""
    for ours, theirs in ((model.inputs, provided.inputs), (model.outputs, provided.outputs)):
        if len(ours) != len(theirs) or not all(map(_is_alike, ours, theirs)):
            found = ", ".join(each.text for each in theirs)
            raise RefusedError(f"{PROVIDED}.uri", found, ", ".join(each.text for each in ours))


def _is_alike(ours: TensorSpec, theirs: TensorSpec) -> bool:
    """In name and type, and in what both say of their shape; the runtime says nothing of an unknown rank."""
    if (ours.name, ours.dtype) != (theirs.name, theirs.dtype):
        return False
    if not (ours.shape and theirs.shape):
        return True
    fixed = [pair for pair in zip(ours.shape, theirs.shape, strict=False) if None not in pair]
    return len(ours.shape) == len(theirs.shape) and all(one == other for one, other in fixed)
