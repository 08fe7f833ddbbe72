"""The JSON schema of report.json, generated from its model.

`python -m quanary.wire.schema` writes it; nothing in it is edited by hand.
"""

import json
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from quanary.api.names import GROUP
from quanary.wire.report import SCHEMA_VERSION, Report

SCHEMA_PATH: Final = Path("docs/report.schema.json")
GENERATED: Final = "Generated from operator/quanary/wire/report.py by `python -m quanary.wire.schema`; edit that."


class _Generator(GenerateJsonSchema):
    """Without a title on every field: it would repeat the field's name."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def report_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of report.json at `SCHEMA_VERSION`.

    What has a default may be absent: a field that came later does not make the reports of before invalid.
    """
    schema = Report.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generator)
    schema["properties"]["schemaVersion"]["const"] = SCHEMA_VERSION
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://{GROUP}/report/v{SCHEMA_VERSION}",
        "$comment": GENERATED,
        **schema,
    }


def schema_text() -> str:
    """What the generated file must say."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the schema below the working directory, the repository's root."""
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
