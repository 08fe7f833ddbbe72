"""Reports to look at: one with every part, one with hardly any, one made to do harm."""

import hashlib
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.recipe import Activations, Approach, Recipe, Scope
from quanary.wire.report import (
    PAGE_FILE,
    REPORT_FILE,
    STATEMENT_FILE,
    ArtifactFigures,
    BatchFigures,
    BenefitFigures,
    CalibrationFigures,
    DataFigures,
    DriftBaseline,
    Exclusion,
    FrontFigures,
    GapFigures,
    GraphFigures,
    Interval,
    LayerFigures,
    ModelIdentity,
    Opening,
    Report,
    SealedSignoff,
    SearchFigures,
    TensorFigures,
    TrialFigures,
)
from quanary.wire.statement import statement_text


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


MODELS = {
    "model-int8.onnx": b"weights of the fastest" * 40,
    "model-int8-safer.onnx": b"weights of a safer one" * 40,
    "model-int8-safest.onnx": b"weights of the safest" * 40,
}
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in MODELS.items()}


def signoff(drop: float = 0.0041, bound: float = 0.0083, **changed: Any) -> SealedSignoff:
    figures: dict[str, Any] = {
        "metric": "agreement",
        "float": 1.0,
        "int8": 1.0 - drop,
        "drop": drop,
        "dropUpperBound": bound,
        "samples": 12747,
        "disagreement": drop,
        "disagreementUpperBound": bound,
        "disagreementLowerBound": drop / 2,
        "lost": 52,
        "gained": 0,
        "confidence": 0.95,
        "maxDrop": 0.01,
        "groups": 133,
        "interval": "Clopper-Pearson upper limit, exact (Biometrika 26, 1934), by group",
        "opening": 1,
    }
    return SealedSignoff.model_validate(figures | changed)


def batch(size: int, ratio: float, low: float, high: float) -> BatchFigures:
    spread = (-0.9, -0.2, 0.1, 0.4, 0.7)
    return BatchFigures(
        batch=size,
        float_seconds=0.00132 * size,
        int8_seconds=0.00132 * size / ratio,
        ratio=ratio,
        interval=Interval(low=low, high=high),
        wall_ratio=ratio - 0.03,
        block_ratios=tuple(ratio + each * (high - low) / 2 for each in spread),
    )


def benefit() -> BenefitFigures:
    return BenefitFigures(
        latency_ratio=2.91,
        batches=(batch(1, 2.91, 2.7, 3.13), batch(8, 2.36, 2.2, 2.53)),
        size_ratio=0.586,
        memory_ratio=0.93,
        cpu_seconds_float=0.00132,
        cpu_seconds_int8=0.00045,
        joules_float=0.0211,
        joules_int8=0.0074,
        threads=1,
        blocks=5,
        looks=1,
        min_speedup=1.1,
        min_size_reduction=0.25,
    )


def trials() -> tuple[TrialFigures, ...]:
    rows = [
        (Recipe(), 0.0041, 0.0012, 0.586, 2.94, True),
        (Recipe(reduce_range=False), 0.0122, 0.0093, 0.586, 3.02, False),
        (Recipe(scope=Scope.ALL), 0.056, 0.118, 0.589, 2.95, False),
        (Recipe(approach=Approach.DYNAMIC), 0.0009, 0.0002, 0.685, 1.01, True),
        (Recipe(activations=Activations.UINT16), 0.0012, 0.0003, 0.585, 1.04, True),
        (Recipe(kept_float=("stft",)), 0.0022, 0.0008, 0.703, 1.84, True),
        (Recipe(kept_float=("stft", "encoder.0")), 0.0009, 0.0003, 0.86, 1.27, True),
        (Recipe(kept_float=("stft", "encoder.0", "encoder.1")), 0.0003, 0.0001, 0.917, 1.09, True),
    ]
    front_of = {
        (): "model-int8.onnx",
        ("stft",): "model-int8-safer.onnx",
        ("stft", "encoder.0"): "model-int8-safest.onnx",
    }
    digests = {Recipe(kept_float=kept).key: DIGESTS[file] for kept, file in front_of.items()}
    made = tuple(
        TrialFigures(
            recipe=r.text, drop=d, divergence=k, size_ratio=s, speedup=f, in_budget=b, sha256=digests.get(r.key, r.key)
        )
        for r, d, k, s, f, b in rows
    )
    broken = TrialFigures(
        recipe=Recipe(approach=Approach.DYNAMIC, scope=Scope.ALL).text,
        drop=math.nan,
        divergence=math.inf,
        size_ratio=0.264,
        speedup=0.59,
        in_budget=False,
        failure="every output of sample 3 is NaN",
    )
    return (*made, broken)


def layers(count: int = 46) -> tuple[LayerFigures, ...]:
    first = (("stft", 0.0113), ("encoder.0", 0.0061), ("encoder.1", 0.0023))
    rest = ((f"/decoder/block.{index}/conv", 0.0012 / (index + 1)) for index in range(count - len(first)))
    return tuple(
        LayerFigures(node=node, operator="Conv", divergence=value, kept_float=node == "stft")
        for node, value in (*first, *rest)
    )


def front() -> tuple[FrontFigures, ...]:
    rows = [
        ("safest", "model-int8-safest.onnx", 0.86, 1.27, 0.0009, (0.0009, 0.0021), ("stft", "encoder.0")),
        ("safer", "model-int8-safer.onnx", 0.703, 1.84, 0.0022, (0.0023, 0.0049), ("stft",)),
        ("fastest", "model-int8.onnx", 0.586, 2.91, 0.0041, (0.0041, 0.0083), ()),
    ]
    return tuple(
        FrontFigures(
            role=role,
            recipe=Recipe(kept_float=kept).text,
            artifact=ArtifactFigures(file=file, sha256=DIGESTS[file], size_ratio=size, latency_ratio=speed),
            tuning_drop=tuning,
            signoff=signoff(*sealed),
            certified=True,
            uri=f"oci://registry.example/speech/vad:{DIGESTS[file]}",
        )
        for role, file, size, speed, tuning, sealed, kept in rows
    )


def tensors(count: int = 24) -> tuple[TensorFigures, ...]:
    return tuple(
        TensorFigures(
            name=f"/encoder/{index}/Relu_output_0" if index else "input",
            low=-1.0 if index == 0 else -0.3 * index,
            high=1.0 if index == 0 else 1.35**index / 3,
            clipped=0.0 if index % 3 else 0.0004 * index,
        )
        for index in range(count)
    )


def search() -> SearchFigures:
    return SearchFigures(
        objective="latency",
        evaluations=61,
        max_evaluations=150,
        tuning=DataFigures(sha256=sha("tuning"), shards=2, samples=60, used=60, groups=60),
        metric="agreement",
        trials=trials(),
        layers=layers(),
    )


def gap() -> GapFigures:
    return GapFigures(
        drop_on_kernels=0.0122,
        drop_emulated=0.0038,
        noise=0.0031,
        saturates=True,
        remedy="7-bit weights: the gap is gone (0.0002)",
    )


def full() -> Report:
    """Every part filled with figures as they were seen."""
    chosen = front()[-1]
    assert chosen.signoff is not None
    return Report(
        verdict=Verdict.BENEFICIAL,
        because="the drop of agreement is at most 0.0083 with 95 % confidence, the budget is 0.01; 2.91 times as fast "
        "(2.70 to 3.13) and 0.59 times the size",
        warnings=(
            "the upper bound of the sealed disagreement is above half of the mismatch gate: shadow may take long",
            "3 calibration samples were excluded",
        ),
        artifact=chosen.artifact,
        recipe=chosen.recipe,
        signoff=chosen.signoff,
        model=ModelIdentity(sha256=sha("model")),
        benefit=benefit(),
        calibration=CalibrationFigures(
            sha256=sha("calibration"),
            shards=4,
            samples=200,
            used=137,
            duplicates=2,
            groups=137,
            methods=("MinMax", "Percentile", "Entropy"),
            excluded=(
                Exclusion(where="calibration-03.npz, sample 17", reason="12 of 24 ranges beyond 20 times the median"),
            ),
            cache_key=sha("cache"),
        ),
        validation=DataFigures(sha256=sha("validation"), shards=7, samples=12747, used=12747, groups=133),
        samples_in_both=0,
        graph=GraphFigures(
            opset_found=16,
            opset=17,
            steps=("constants to initializers", "node names made unique", "shapes inferred"),
            largest_difference=2.4e-7,
            quantized_nodes=("encoder.0", "encoder.1", "encoder.2", "encoder.3", "decoder", "stft"),
            kept_float_nodes=("lstm",),
            core_nodes_in_subgraphs=0,
            sha256=sha("normalised"),
        ),
        tensors=tensors(),
        search=search(),
        gap=gap(),
        front=front(),
        drift=(
            DriftBaseline(
                input="input",
                low=-0.98,
                high=0.99,
                edges=(-0.6, -0.3, -0.1, 0.0, 0.1, 0.3, 0.6),
                counts=(0, 160, 2100, 9200, 9350, 2050, 170, 14),
                psi_thresholds={100: 0.21, 1000: 0.034, 10000: 0.0061},
                out_of_range_budget=0.01,
            ),
        ),
        openings=(Opening(data=sha("validation"), number=1, artifacts=tuple(DIGESTS.values())),),
        settings={
            "strategy": "Auto",
            "objective": "latency",
            "metric": "agreement",
            "maxDrop": 0.01,
            "confidence": 0.95,
            "minSpeedup": 1.1,
            "samples": 512,
            "keepFloat": ("lstm",),
            "fullRange": False,
        },
        seeds={"bootstrap": 7, "drift": 11},
        tools={"numpy": "2.3.1", "onnx": "1.23.0", "onnxruntime": "1.32.0", "python": "3.11.2", "quanary": "0.1.0"},
        cpu_features=("avx2",),
        created=datetime(2026, 11, 24, 20, 15, tzinfo=UTC),
    )


def minimal() -> Report:
    """A provided artifact that lost too much: nothing was made, searched or measured."""
    return Report(
        verdict=Verdict.OVER_BUDGET,
        because="the drop of accuracy is 0.322, the budget is 0.01",
        artifact=ArtifactFigures(
            file="model-int8.onnx", sha256=DIGESTS["model-int8.onnx"], size_ratio=0.589, latency_ratio=0.0
        ),
        signoff=signoff(
            0.322, 0.341, metric="accuracy", float=1.0, int8=0.678, lost=430, gained=2, groups=0, interval=""
        ),
        model=ModelIdentity(sha256=sha("model")),
        validation=DataFigures(sha256=sha("validation"), shards=1, samples=1335, used=1335),
        samples_in_both=0,
        settings={"strategy": "Provided", "metric": "accuracy", "maxDrop": 0.01},
        seeds={},
        tools={"quanary": "0.1.0"},
        cpu_features=(),
        created=datetime(2026, 11, 24, 20, 15, tzinfo=UTC),
    )


ATTACK = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"&{{7*7}}\x1b[31m\u202e"
)
LONG = "node_" + "x" * 4000


def hostile() -> Report:
    """Every foreign text an attack, or longer than any screen; figures at their extremes."""
    report = full()
    evil_layers = tuple(
        LayerFigures(node=f"{ATTACK}{LONG}{index}", operator=ATTACK, divergence=value, kept_float=True)
        for index, value in enumerate((math.inf, math.nan, -1.0, 0.0, 1e300))
    )
    evil_trial = report.search.trials[0].model_copy(  # type: ignore[union-attr]
        update={"recipe": ATTACK + LONG, "drop": math.inf, "speedup": math.nan, "failure": ATTACK}
    )
    changed = {
        "because": ATTACK,
        "warnings": (ATTACK, LONG),
        "recipe": LONG,
        "artifact": report.artifact.model_copy(update={"file": ATTACK}),
        "signoff": report.signoff.model_copy(update={"metric": ATTACK[:64], "interval": LONG, "drop": math.nan}),
        "tensors": (
            TensorFigures(name=ATTACK + LONG, low=-math.inf, high=math.nan, clipped=2.0),
            TensorFigures(name="", low=0.0, high=0.0, clipped=0.0),
        ),
        "calibration": report.calibration.model_copy(  # type: ignore[union-attr]
            update={"excluded": (Exclusion(where=ATTACK, reason=LONG),)}
        ),
        "search": report.search.model_copy(  # type: ignore[union-attr]
            update={"layers": evil_layers, "trials": (evil_trial, *trials()), "metric": ATTACK}
        ),
        "front": tuple(
            each.model_copy(update={"role": ATTACK, "recipe": LONG, "uri": f"javascript:{ATTACK}"}) for each in front()
        ),
        "drift": tuple(each.model_copy(update={"input": ATTACK + LONG}) for each in report.drift),
        "settings": {ATTACK: ATTACK, "keepFloat": (LONG, ATTACK)},
        "tools": {ATTACK: LONG},
        "cpu_features": (ATTACK,),
    }
    return report.model_copy(update=changed)


def write_folder(folder: Path, report: Report | None = None, page: str = "<!doctype html><title>page</title>") -> Path:
    """A folder as a run leaves it, unsigned."""
    report = report or full()
    names = {report.artifact.file, *(each.artifact.file for each in report.front)}
    for name in names:
        (folder / name).write_bytes(MODELS[name])
    (folder / REPORT_FILE).write_text(report.to_json())
    (folder / PAGE_FILE).write_text(page)
    (folder / STATEMENT_FILE).write_text(statement_text(report))
    return folder
