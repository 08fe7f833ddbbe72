"""Arguments of the programs: the controller renders them into pods, the programs parse them.

Each program's arguments are one frozen dataclass. `render` and `parse` are derived from its fields, so they cannot
disagree: a field `deadline_seconds` is the flag `--deadline-seconds`; the first field, if marked, is positional.
"""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Final, Self, get_args, get_origin, get_type_hints

HTTP_PORT: Final = 8080
TWIN_PORT: Final = 8081
GRPC_PORT: Final = 9000
METRICS_PORT: Final = 9090

MODEL_DIRECTORY: Final = "/models"
MODEL_FILE: Final = f"{MODEL_DIRECTORY}/model.onnx"
MODEL_REPORT: Final = f"{MODEL_DIRECTORY}/report.json"
# What a Triton container serves from: every folder in it is a model, so nothing else may lie there.
MODEL_REPOSITORY: Final = f"{MODEL_DIRECTORY}/repository"
# A page of the front's metrics port: whether the server behind it answers.
UPSTREAM_LIVE_PATH: Final = "/upstream/live"
SPOOL_DIRECTORY: Final = "/spool"
# What a server keeps there at most, so that its volume can hold it.
SPOOL_BYTES_LIMIT: Final = 256 * 2**20
WORK_DIRECTORY: Final = "/work"
# Where the claim of a `pvc://claim/path` is mounted, read-only: /pvc/claim.
CLAIMS_DIRECTORY: Final = "/pvc"
TERMINATION_LOG: Final = "/dev/termination-log"


def argument(text: str, *, default: Any = MISSING, positional: bool = False) -> Any:
    """A dataclass field that carries its help text."""
    metadata = {"help": text, "positional": positional}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


class Arguments:
    """What `render` and `parse` share; subclasses are frozen dataclasses of `argument` fields."""

    def render(self) -> list[str]:
        """Command-line words; a field at its default is left out."""
        words: list[str] = []
        for each in fields(self):  # type: ignore[arg-type]
            words += _words(each, getattr(self, each.name))
        return words

    @classmethod
    def add_to(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the flags on `parser`."""
        hints = get_type_hints(cls)
        for each in fields(cls):  # type: ignore[arg-type]
            _declare(parser, each, hints[each.name])

    @classmethod
    def from_namespace(cls, namespace: argparse.Namespace) -> Self:
        """Arguments out of what `argparse` read."""
        values = {each.name: getattr(namespace, each.name) for each in fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """Arguments from words; exits with a usage message on misuse, as argparse does."""
        parser = argparse.ArgumentParser()
        cls.add_to(parser)
        return cls.from_namespace(parser.parse_args(list(words)))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _words(each: Field[Any], value: Any) -> list[str]:
    if value == each.default:
        return []
    if each.metadata["positional"]:
        return [str(value)]
    if isinstance(value, bool):
        return [_flag(each.name)]
    if isinstance(value, tuple):
        return [f"{_flag(each.name)}={item}" for item in value]
    # One word: a value that begins with a dash would be read as a flag.
    return [f"{_flag(each.name)}={value}"]


def _declare(parser: argparse.ArgumentParser, each: Field[Any], hint: Any) -> None:
    text = each.metadata["help"].replace("%", "%%")
    if each.metadata["positional"]:
        parser.add_argument(each.name, help=text)
        return
    flag, required = _flag(each.name), each.default is MISSING
    if hint is bool:
        parser.add_argument(flag, action="store_true", help=text)
    elif get_origin(hint) is tuple:
        parser.add_argument(flag, action="append", default=[], type=get_args(hint)[0], help=text)
    else:
        kind = next((option for option in get_args(hint) if option is not type(None)), hint)
        default = None if required else each.default
        parser.add_argument(flag, required=required, default=default, type=kind, help=text)


@dataclass(frozen=True)
class ServeArguments(Arguments):
    """`quanary serve`: one model behind the Open Inference Protocol."""

    model: str = argument("the ONNX file to serve", positional=True)
    name: str = argument("the model's name in request paths")
    host: str = argument("address to listen on", default="127.0.0.1")
    http_port: int = argument("port for users", default=HTTP_PORT)
    grpc_port: int = argument("port for users who speak gRPC; 0 for none", default=0)
    twin_port: int = argument("port for the twin's questions; 0 for none", default=0)
    metrics_port: int = argument("port of /gates and /metrics", default=METRICS_PORT)
    variant: str = argument("float or int8", default="float")
    digest: str = argument("sha256 of the model file; computed if empty", default="")
    twin_url: str = argument("whom to ask for comparison; empty for nobody", default="")
    sample_ratio: float = argument("share of distinct inputs to compare, 0 to 1", default=0.0)
    latency_budget_seconds: float = argument("a slower answer counts as over budget", default=0.1)
    deadline_seconds: float = argument("a request without answer by then counts as an error", default=10.0)
    critical_header: str = argument("`name=value` of requests left out of every count; empty for none", default="")
    critical_path: str = argument("path prefix of such requests, rewritten by the gateway; empty for none", default="")
    divergence: str = argument(
        "top1, kullbackleibler, cosine, boxoverlap or tolerance: how answers differ", default="top1"
    )
    divergence_limit: float = argument("answers further apart differ; not for top1", default=0.0)
    divergence_output: str = argument("the output to compare; the first if empty", default="")
    report: str = argument("report.json of the artifact, to watch inputs against its calibration", default="")
    escalate_below: float = argument("an INT8 answer less confident than this is escalated; 0 for none", default=0.0)
    escalate_by: str = argument("softmax, margin or output: what confidence is", default="softmax")
    escalate_output: str = argument("the output that confidence is read from; the first if empty", default="")
    escalate_to: str = argument("float: float answers instead; review: answered, and sent to the sink", default="float")
    escalation_budget: float = argument("share of requests that may be escalated, 0 to 1", default=0.1)
    review_sink: str = argument("http://HOST:PORT/PATH of the review sink, for CloudEvents", default="")
    review_spool: str = argument("folder for reviews that the sink has not taken yet", default="")
    upstream: str = argument("http://HOST:PORT of the server that runs the model; empty: in this process", default="")
    max_batch: int = argument("requests of one inference at most; 0: found by a sweep before ready", default=0)
    core_watts: float = argument("power of a busy core, where the CPU counts no energy; 0: unknown", default=0.0)
    core_hour_price: float = argument("price of a core for an hour; 0: unknown", default=0.0)
    threads: int = argument("threads of one inference; 0: from the CPU limit of the cgroup", default=0)
    cpu_features: str = argument("features that the certificate holds on, comma-separated; any if empty", default="")
    certified_on: str = argument("features of the certifying CPU, to tell a difference in the metrics", default="")
    termination_log: str = argument("where to leave a refusal for the controller", default="")


@dataclass(frozen=True)
class FetchArguments(Arguments):
    """`quanary fetch`: one verified model file into a folder (the init container of a serving pod)."""

    uri: str = argument("where the file is", positional=True)
    sha256: str = argument("what its sha256 must be")
    out: str = argument("the path to write")
    report_out: str = argument("the path to write the artifact's report.json to, if it has one", default="")
    field: str = argument("the field of the resource to name in a refusal", default="spec.model")
    insecure_host: tuple[str, ...] = argument("a host that may be spoken to without TLS", default=())
    termination_log: str = argument("where to leave a refusal for the controller", default="")


@dataclass(frozen=True)
class RepositoryArguments(Arguments):
    """`quanary repository`: Triton's model repository of one model (an init container of a Triton pod)."""

    model: str = argument("the verified ONNX file", positional=True)
    name: str = argument("the model's name in request paths")
    out: str = argument("the repository's folder, on the same volume as the model", default=MODEL_REPOSITORY)
    max_batch: int = argument("requests of one inference at most; 0: found by a sweep", default=0)
    latency_budget_seconds: float = argument("twice the longest inference that the sweep takes", default=0.1)
    threads: int = argument("threads of one inference; 0: from the CPU limit of the cgroup", default=0)
    field: str = argument("the field of the resource to name in a refusal", default="spec.model")
    termination_log: str = argument("where to leave a refusal for the controller", default="")


@dataclass(frozen=True)
class QuantizeArguments(Arguments):
    """`quanary quantize`: one model in, a judged artifact and its report out."""

    model: str = argument("the float ONNX model: a path or a URI", positional=True)
    validation: str = argument("sealed data: a folder, tar or Parquet file, or module:function; a path or a URI")
    max_drop: float = argument("the largest drop of the metric allowed, 0 to 1")
    out: str = argument("the folder to write report.json, report.html and the artifacts to")
    metric: str = argument("what must not drop; `quanary quantize --explain metrics` lists them", default="agreement")
    calibration: str = argument("calibration and tuning data, as validation; not needed with --provided", default="")
    model_sha256: str = argument("what the model's sha256 must be; not checked if empty", default="")
    calibration_sha256: str = argument("what the calibration file's sha256 must be", default="")
    validation_sha256: str = argument("what the validation file's sha256 must be", default="")
    strategy: str = argument("auto, static, dynamic or provided", default="auto")
    provided: str = argument("judge this INT8 model instead of making one", default="")
    provided_sha256: str = argument("what its sha256 must be", default="")
    activations: str = argument("auto, uint8 or uint16", default="auto")
    granularity: str = argument("auto, pertensor or perchannel", default="auto")
    method: str = argument("auto, minmax, percentile, entropy or meansquarederror", default="auto")
    objective: str = argument("latency or size: what the search minimises within the budget", default="latency")
    max_evaluations: int = argument("candidates and layers the search may try", default=150)
    search_seconds: float = argument("time the search may take; 0: as long as it needs", default=0.0)
    full_range: bool = argument("8-bit weights: the certificate then holds on this kind of CPU alone", default=False)
    samples: int = argument("calibration samples to use at most", default=512)
    keep_float: tuple[str, ...] = argument("a node, by name or pattern, to leave in float", default=())
    confidence: float = argument("of the one-sided bound of the drop", default=0.95)
    min_speedup: float = argument("FP32 time over INT8 time that counts as a benefit", default=1.1)
    min_size_reduction: float = argument("share of size saved that counts as a benefit of its own", default=0.25)
    threads: int = argument("threads of one inference; 0: from the CPU limit of the cgroup", default=0)
    batch: int = argument("the server's batch size, measured beside 1", default=8)
    seal_opening: tuple[str, ...] = argument("an earlier opening of the seal, as JSON", default=())
    publish: str = argument("oci:// repository to publish the artifacts to; nowhere if empty", default="")
    sign_key: str = argument("PEM private key to sign what is written and published with", default="")
    inputs: str = argument("digest of the inputs, handed back to the controller", default="")
    insecure_host: tuple[str, ...] = argument("a host that may be spoken to without TLS", default=())
    cache: str = argument("folder of calibrated ranges and evaluations; OUT/.cache if empty", default="")
    termination_log: str = argument("where to leave the handover for the controller", default="")


@dataclass(frozen=True)
class InspectArguments(Arguments):
    """`quanary inspect`: what an artifact is, and whether it is still what it was."""

    artifact: str = argument("a folder, report.json, a model file beside its report, or an oci:// URI", positional=True)
    key: str = argument("PEM public key that its signature must verify with; not verified if empty", default="")
    json: bool = argument("print JSON for machines", default=False)
    insecure_host: tuple[str, ...] = argument("a host that may be spoken to without TLS", default=())
