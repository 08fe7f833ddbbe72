"""The report: everything that the steps of a run found, put together. No step is taken here."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from quanary.quantizer.inputs import Inputs, is_provided
from quanary.quantizer.judging import Judged
from quanary.quantizer.machine import could_saturate, cpu_features, tool_versions
from quanary.quantizer.made import Candidate, Made
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import ArtifactFigures, DataFigures, FrontFigures, ModelIdentity, Report, Settings

ARTIFACT_FILE: Final = "model-int8.onnx"
FRONT_PREFIX: Final = "front-"
# What shapes or judges an artifact; paths, hosts and places to publish to do not.
_JUDGED_BY: Final = ("metric", "max_drop", "confidence", "min_speedup", "min_size_reduction", "batch")
_MADE_BY: Final = (
    "activations", "granularity", "method", "objective", "max_evaluations", "full_range", "samples", "keep_float",
)  # fmt: skip


def assemble(
    arguments: QuantizeArguments, inputs: Inputs, made: Made, judged: Judged, uris: Mapping[str, str]
) -> Report:
    """`uris`: where each artifact was or will be published, by its digest."""
    return Report(
        verdict=judged.verdict,
        because=judged.because,
        warnings=(*made.warnings, *judged.warnings, *_of_this_cpu(judged.chosen)),
        artifact=_figures(judged.chosen, judged),
        recipe=judged.chosen.recipe,
        signoff=judged.signoff,
        model=ModelIdentity(sha256=inputs.model_sha256),
        benefit=judged.benefit,
        calibration=made.calibration,
        validation=sealed_figures(inputs),
        samples_in_both=made.samples_in_both,
        graph=judged.chosen.graph,
        tensors=judged.chosen.tensors,
        search=made.search,
        gap=judged.gap,
        front=_front(judged, uris),
        drift=made.drift,
        openings=judged.openings,
        settings=_settings(arguments),
        seeds=made.seeds,
        tools=tool_versions(),
        cpu_features=cpu_features(),
        created=datetime.now(UTC),
    )


def file_of(candidate: Candidate, chosen: Candidate) -> str:
    """Where in the output folder an artifact lies."""
    return ARTIFACT_FILE if candidate == chosen else f"{FRONT_PREFIX}{candidate.role}-{candidate.sha256[:10]}.onnx"


def sealed_figures(inputs: Inputs) -> DataFigures:
    """Of the sealed data: each content is used once."""
    data, content = inputs.validation, inputs.sealed
    return DataFigures(
        sha256=data.sha256,
        shards=len(data.counts),
        samples=data.samples,
        used=inputs.judges.samples,
        duplicates=content.duplicates,
        groups=len(content.group_names),
    )


def _of_this_cpu(chosen: Candidate) -> tuple[str, ...]:
    """What 8-bit weights mean for where the artifact may serve."""
    if chosen.portable:
        return ()
    features = cpu_features()
    warning = f"8-bit weights: certified for CPUs with {', '.join(features) or 'the same features'} alone"
    return (f"{warning}; sums of them may saturate there",) if could_saturate(features) else (warning,)


def _figures(candidate: Candidate, judged: Judged) -> ArtifactFigures:
    measured = judged.benefit if candidate == judged.chosen else None
    return ArtifactFigures(
        file=file_of(candidate, judged.chosen),
        sha256=candidate.sha256,
        size_ratio=candidate.size_ratio,
        latency_ratio=measured.latency_ratio if measured else candidate.speedup,
        portable=candidate.portable,
    )


def _front(judged: Judged, uris: Mapping[str, str]) -> tuple[FrontFigures, ...]:
    signoffs = dict(zip((each.sha256 for each in judged.front), judged.signoffs, strict=False))
    return tuple(
        FrontFigures(
            role=each.role,
            recipe=each.recipe,
            artifact=_figures(each, judged),
            tuning_drop=each.tuning_drop,
            signoff=signoffs.get(each.sha256),
            certified=each in judged.certified,
            uri=uris.get(each.sha256, ""),
        )
        for each in judged.front
    )


def _settings(arguments: QuantizeArguments) -> Settings:
    if is_provided(arguments):
        return {"strategy": "provided"} | {name: getattr(arguments, name) for name in _JUDGED_BY}
    return {"strategy": arguments.strategy} | {name: getattr(arguments, name) for name in (*_MADE_BY, *_JUDGED_BY)}
