"""The in-toto statement of a run."""

import hashlib
import json
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from quanary.wire.report import Report
from quanary.wire.statement import PREDICATE_TYPE, statement_of, statement_text
from tests.quantizer.report.reports import DIGESTS, full, minimal, sha


def validated(statement: dict[str, Any]) -> Statement:
    """As a reader of the framework sees it."""
    read = statement_pb2.Statement()
    json_format.ParseDict(statement, read)
    found = Statement.copy_from_pb(read)
    found.validate()
    return found


@pytest.mark.parametrize("report", [full(), minimal()], ids=["full", "minimal"])
def test_it_is_a_valid_statement(report: Report) -> None:
    assert validated(statement_of(report)).pb.predicate_type == PREDICATE_TYPE


def test_subjects_are_the_artifact_and_the_rest_of_the_front() -> None:
    subjects = statement_of(full())["subject"]
    assert subjects[0] == {"name": "model-int8.onnx", "digest": {"sha256": DIGESTS["model-int8.onnx"]}}
    assert {each["digest"]["sha256"] for each in subjects} == set(DIGESTS.values())


def test_what_failed_on_sealed_data_is_no_subject() -> None:
    report = full()
    failed = report.front[0].model_copy(update={"certified": False})
    subjects = statement_of(report.model_copy(update={"front": (failed, *report.front[1:])}))["subject"]
    assert failed.artifact.sha256 not in {each["digest"]["sha256"] for each in subjects}


def test_it_names_everything_the_run_stood_on() -> None:
    build = statement_of(full())["predicate"]["buildDefinition"]
    digests = {each["name"]: each["digest"]["sha256"] for each in build["resolvedDependencies"]}
    assert digests == {"model": sha("model"), "calibration": sha("calibration"), "validation": sha("validation")}
    assert build["externalParameters"]["maxDrop"] == 0.01
    assert build["internalParameters"]["seeds"] == {"bootstrap": 7, "drift": 11}


def test_its_byproducts_are_the_report_as_written_and_the_normalised_model() -> None:
    products = statement_of(full())["predicate"]["runDetails"]["byproducts"]
    written = hashlib.sha256(full().to_json().encode()).hexdigest()
    assert [each["digest"]["sha256"] for each in products] == [written, sha("normalised")]


def test_the_same_report_gives_the_same_bytes() -> None:
    assert statement_text(full()) == statement_text(full())
    assert json.loads(statement_text(full()))["predicate"]["verdict"] == "Beneficial"
