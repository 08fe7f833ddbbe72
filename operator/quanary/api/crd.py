"""The models of the resource as a CustomResourceDefinition and as a reference for people.

`python -m quanary.api.crd` writes both; nothing in them is edited by hand.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import override

from quanary.api import names
from quanary.api.quantities import format_duration
from quanary.api.reference import reference
from quanary.api.v1alpha1 import COLUMNS, ROOT_RULES, Column, QuantizedModelSpec, QuantizedModelStatus, Rule

Schema = dict[str, Any]

GENERATED: Final = "Generated from operator/quanary/api/v1alpha1.py by `python -m quanary.api.crd`; edit that instead."
CRD_PATH: Final = Path("crds/quantizedmodels.quanary.dev.yaml")
CHART_CRD_PATH: Final = Path("charts/quanary/files/quantizedmodels.quanary.dev.yaml")
REFERENCE_PATH: Final = Path("docs/reference.md")

# Keywords that a structural schema has no place for; what they would say is said otherwise or is checked by pydantic.
_DROPPED: Final = frozenset({"title", "propertyNames", "$defs"})


class _Generator(GenerateJsonSchema):
    """JSON schema of the models with what only Kubernetes knows: optional is absent, never null; CEL rules inside."""

    @override
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    @override
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        generated = super().default_schema(schema)
        if generated.get("default", "") is None:
            generated.pop("default")
        return generated

    @override
    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, BaseModel):
            # Spelled out: the API server tries the rules on a default before it fills in the defaults inside it.
            return dft.model_dump(mode="json", by_alias=True, exclude_none=True)
        return super().encode_default(dft)

    @override
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        generated = super().model_schema(schema)
        if rules := getattr(schema["cls"], "RULES", ()):
            generated["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
        return generated


def _validation(rule: Rule) -> Schema:
    written = {"rule": rule.cel, "message": rule.message}
    return written | ({"fieldPath": f".{rule.field_path}"} if rule.field_path else {})


def structural_schema(model: type[BaseModel]) -> Schema:
    """The model as an OpenAPI v3 structural schema: no references, no nulls, bounds in their OpenAPI 3.0 form."""
    generated = model.model_json_schema(schema_generator=_Generator)
    return _structural(generated, generated.get("$defs", {}))


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _structural({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    for side in ("Minimum", "Maximum"):
        if f"exclusive{side}" in out:
            out[side.lower()] = out[f"exclusive{side}"]
            out[f"exclusive{side}"] = True
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _structural(out[key], definitions)
    if "properties" in out:
        out["properties"] = {name: _structural(each, definitions) for name, each in out["properties"].items()}
    return out


def _with_fractions_as_rules(node: Schema) -> Schema:
    """Bounds that are no whole numbers as CEL rules: the API server cuts them to whole ones when it names them."""
    out, rules = dict(node), list(node.get("x-kubernetes-validations", ()))
    for key, sign in (("minimum", ">"), ("maximum", "<")):
        if key in out and out[key] != int(out[key]):
            bound, exclusive = out.pop(key), out.pop(f"exclusive{key.capitalize()}", False)
            comparison = f"{sign} {bound}" if exclusive else f"{sign}= {bound}"
            rules.append({"rule": f"self {comparison}", "message": f"must be {comparison}"})
    if rules:
        out["x-kubernetes-validations"] = rules
    if "properties" in out:
        out["properties"] = {name: _with_fractions_as_rules(each) for name, each in out["properties"].items()}
    if "items" in out:
        out["items"] = _with_fractions_as_rules(out["items"])
    return out


def _without_defaults(node: Schema) -> Schema:
    out = {key: value for key, value in node.items() if key != "default"}
    if "properties" in out:
        out["properties"] = {name: _without_defaults(each) for name, each in out["properties"].items()}
    if "items" in out:
        out["items"] = _without_defaults(out["items"])
    return out


def resource_schema() -> Schema:
    """The schema of the whole object. The status has no defaults: only what the operator wrote stands there."""
    return {
        "type": "object",
        "description": "One ONNX model, served in float at once and in INT8 once that is certified and proven.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            # Named, so that a rule can point at it.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": structural_schema(QuantizedModelSpec),
            "status": _without_defaults(structural_schema(QuantizedModelStatus)),
        },
        "x-kubernetes-validations": [_validation(rule) for rule in ROOT_RULES],
    }


def custom_resource_definition(annotations: Mapping[str, str] | None = None) -> Schema:
    """The CustomResourceDefinition (apiextensions.k8s.io/v1) as a dict."""
    metadata: Schema = {"name": f"{names.PLURAL}.{names.GROUP}"}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["qm"],
                "categories": ["quanary", "ml"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _with_fractions_as_rules(resource_schema())},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(each) for each in COLUMNS],
                }
            ],
        },
    }


def _column(column: Column) -> Schema:
    written: Schema = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return written | ({"priority": 1} if column.wide else {})


class _Dumper(yaml.SafeDumper):
    """Writes everything out: an anchor is no way to read a schema."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _manifest(annotations: Mapping[str, str] | None = None) -> str:
    crd = custom_resource_definition(annotations)
    return f"# {GENERATED}\n" + yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def generated_files() -> dict[Path, str]:
    """What each generated file must say, by its path from the repository's root.

    The chart's copy differs in one annotation: Helm keeps the definition, and so every resource, on uninstall.
    """
    return {
        CRD_PATH: _manifest(),
        CHART_CRD_PATH: _manifest({"helm.sh/resource-policy": "keep"}),
        REFERENCE_PATH: reference(resource_schema(), GENERATED),
    }


def main() -> None:
    """Write the generated files below the working directory, the repository's root."""
    for path, text in generated_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
