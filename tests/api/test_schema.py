"""The schema as it is generated, without a server."""

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from quanary.api.crd import custom_resource_definition, resource_schema, structural_schema
from quanary.api.reference import reference
from quanary.api.v1alpha1 import Spec


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, by its path."""
    yield path, node
    for name, each in node.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


def ours() -> list[tuple[str, dict[str, Any]]]:
    """What the models say; apiVersion, kind and metadata are the API server's."""
    return [each for each in nodes(resource_schema()) if each[0].startswith((".spec", ".status"))]


class Inner(Spec):
    """A part."""

    title: Annotated[str, Field(max_length=8)] = "t"
    """A property by the name of a keyword."""


class Outer(Spec):
    """A whole."""

    inner: Inner | None = None
    """Perhaps a part."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Between two bounds,
    over two lines."""


def test_optional_is_absent_and_bounds_have_their_openapi_form() -> None:
    assert structural_schema(Outer) == {
        "type": "object",
        "description": "A whole.",
        "required": ["share"],
        "properties": {
            "inner": {
                "type": "object",
                "description": "Perhaps a part.",
                "properties": {
                    "title": {
                        "type": "string",
                        "maxLength": 8,
                        "default": "t",
                        "description": "A property by the name of a keyword.",
                    }
                },
            },
            "share": {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 1,
                "exclusiveMaximum": True,
                "description": "Between two bounds, over two lines.",
            },
        },
    }


def test_every_field_has_a_type_and_nothing_a_structural_schema_refuses() -> None:
    for path, node in ours():
        assert "type" in node, path
        assert node.keys().isdisjoint({"$ref", "anyOf", "allOf", "oneOf", "nullable", "const", "title"}), path


def test_everything_that_can_grow_has_a_bound() -> None:
    for path, node in ours():
        match node["type"]:
            case "string":
                assert node.keys() & {"maxLength", "enum", "format"}, path
            case "array":
                assert "maxItems" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


def test_every_field_of_the_spec_has_a_sentence() -> None:
    for path, node in ours():
        if not path.endswith("[]"):
            assert node.get("description", "").strip().endswith("."), path


def test_the_status_has_no_defaults() -> None:
    assert [path for path, node in ours() if path.startswith(".status") and "default" in node] == []


def test_a_fraction_is_bounded_by_a_rule() -> None:
    [version] = custom_resource_definition()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    for path, node in nodes(schema):
        for bound in ("minimum", "maximum"):
            assert node.get(bound, 0) == int(node.get(bound, 0)), path
    confidence = schema["properties"]["spec"]["properties"]["validation"]["properties"]["confidence"]
    assert [each["rule"] for each in confidence["x-kubernetes-validations"]] == ["self >= 0.5", "self <= 0.9999"]


def test_the_reference_names_every_field_and_rule() -> None:
    text = reference(resource_schema(), "generated")
    for path, node in ours():
        if path not in (".spec", ".status") and not (path.endswith("[]")):
            assert f"| `{path[1:]}` |" in text, path
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"] in text
