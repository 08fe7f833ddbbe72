"""What a run did, as an in-toto statement: who made which file, from what, with which settings.

The predicate has the shape of SLSA's build provenance v1, so that what reads that reads this; its type is our own,
for the run is no build: it ends with a verdict.
"""

import hashlib
import json
from typing import Any, Final

from quanary.api.names import GROUP
from quanary.wire.report import REPORT_FILE, DataFigures, Report

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = f"https://{GROUP}/quantization/v1"
BUILDER: Final = f"https://{GROUP}/quantizer"

Descriptor = dict[str, Any]


def statement_of(report: Report) -> dict[str, Any]:
    """The statement (in-toto attestation framework, statement layer v1) on the artifacts of a report."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(report),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verdict": report.verdict.value,
            "because": report.because,
            "buildDefinition": {
                "buildType": PREDICATE_TYPE,
                "externalParameters": dict(report.settings),
                "internalParameters": {"recipe": report.recipe, "seeds": report.seeds},
                "resolvedDependencies": _dependencies(report),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": report.tools},
                "metadata": {"finishedOn": report.created.isoformat(), "cpuFeatures": list(report.cpu_features)},
                "byproducts": _byproducts(report),
            },
        },
    }


def statement_text(report: Report) -> str:
    """The same as indented JSON."""
    return json.dumps(statement_of(report), indent=2, ensure_ascii=False) + "\n"


def report_digest(report: Report) -> str:
    """sha256 of report.json as `to_json` writes it."""
    return hashlib.sha256(report.to_json().encode()).hexdigest()


def _subjects(report: Report) -> list[Descriptor]:
    """The artifact first, then the others of the front that are certified."""
    others = [entry.artifact for entry in report.front if entry.certified]
    named = {each.sha256: each.file for each in (report.artifact, *others)}
    return [_described(file, sha256) for sha256, file in named.items()]


def _dependencies(report: Report) -> list[Descriptor]:
    found = [_described("model", report.model.sha256)]
    if report.calibration:
        found.append(_data("calibration", report.calibration))
    return [*found, _data("validation", report.validation)]


def _byproducts(report: Report) -> list[Descriptor]:
    found = [_described(REPORT_FILE, report_digest(report)) | {"mediaType": "application/json"}]
    if report.graph and report.graph.sha256:
        found.append(_described("normalized model", report.graph.sha256))
    return found


def _data(name: str, figures: DataFigures) -> Descriptor:
    counts = {"shards": figures.shards, "samples": figures.samples, "used": figures.used}
    return _described(name, figures.sha256) | {"annotations": counts}


def _described(name: str, sha256: str) -> Descriptor:
    return {"name": name, "digest": {"sha256": sha256}}
