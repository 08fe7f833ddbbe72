"""docs/report.schema.json is what report.json is."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from quanary.wire.report import SCHEMA_VERSION, Report
from quanary.wire.schema import SCHEMA_PATH, report_schema, schema_text
from tests.quantizer.report.reports import full, minimal

ROOT = Path(__file__).parents[2]


def test_the_generated_schema_says_what_the_model_says() -> None:
    assert (ROOT / SCHEMA_PATH).read_text() == schema_text(), "run `python -m quanary.wire.schema`"


def test_the_schema_is_a_schema_and_carries_its_version() -> None:
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schemaVersion"]["const"] == SCHEMA_VERSION
    assert schema["$id"].endswith(f"/v{SCHEMA_VERSION}")


@pytest.mark.parametrize("report", [full(), minimal()], ids=["full", "minimal"])
def test_a_report_follows_the_schema_and_reads_back(report: Report) -> None:
    text = report.to_json()
    finite = text.replace('"NaN"', "0").replace('"Infinity"', "0")
    Draft202012Validator(report_schema()).validate(json.loads(finite))
    assert Report.from_json(text).to_json() == text


def test_figures_that_are_not_finite_are_still_json() -> None:
    def refuse(name: str) -> float:
        raise AssertionError(name)

    document: dict[str, Any] = json.loads(full().to_json(), parse_constant=refuse)
    assert [each["divergence"] for each in document["search"]["trials"]][-1] == "Infinity"


def test_a_report_of_a_later_schema_is_not_misread() -> None:
    later = full().model_copy(update={"schema_version": SCHEMA_VERSION + 1})
    with pytest.raises(ValueError, match=f"schema version {SCHEMA_VERSION + 1}; this program reads up to"):
        Report.from_json(later.to_json())


def test_the_schema_refuses_a_report_without_its_verdict() -> None:
    document = json.loads(minimal().to_json())
    del document["verdict"]
    assert [error.message for error in Draft202012Validator(report_schema()).iter_errors(document)] == [
        "'verdict' is a required property"
    ]
