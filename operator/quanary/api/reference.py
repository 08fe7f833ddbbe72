"""The resource's schema as a reference for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from quanary.api import names

_BOUNDS: Final = {
    "minimum": "≥",
    "maximum": "≤",
    "minLength": "length ≥",
    "maxLength": "length ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
    "maxProperties": "entries ≤",
}


def _fields(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    required = node.get("required", ())
    for name, each in node.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, each, name in required
        yield from _fields(each, here)
        yield from _fields(each.get("items", {}), f"{here}[]")


def _type(node: Mapping[str, Any]) -> str:
    if "items" in node:
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    return str(node.get("format", node["type"]))


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def _bounds(node: Mapping[str, Any]) -> str:
    parts = []
    if "enum" in node:
        parts.append(", ".join(f"`{value}`" if value else "empty" for value in node["enum"]))
    for key, sign in _BOUNDS.items():
        if key in node:
            strict = node.get(f"exclusive{key.capitalize()}")
            parts.append(f"{ {'≥': '>', '≤': '<'}[sign] if strict else sign } {node[key]:.15g}")
    if "pattern" in node:
        parts.append(_code(node["pattern"]))
    inner = node.get("items") or node.get("additionalProperties")
    if inner and (each := _bounds(inner)):
        parts.append(f"each: {each}")
    return "; ".join(parts)


def _default(node: Mapping[str, Any], *, is_required: bool) -> str:
    if is_required:
        return "required"
    default = node.get("default")
    # The default of an object stands at its fields, unless it fills in what is required otherwise.
    if default is None or ("properties" in node and "required" not in node):
        return ""
    return f"`{json.dumps(default)}`" if default not in ("", [], {}) else "empty"


def _table(node: Mapping[str, Any], path: str) -> list[str]:
    lines = ["| field | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    for name, each, is_required in _fields(node, path):
        default, meaning = _default(each, is_required=is_required), each.get("description", "")
        cells = (f"`{name}`", _type(each), default, _bounds(each), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def _rules(node: Mapping[str, Any], path: str) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", ()):
        yield f"- `{(path + rule.get('fieldPath', '')).removeprefix('.')}`: {rule['message']}"
    for name, each in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield from _rules(each, here)
        yield from _rules(each.get("items", {}), f"{here}[]")


def reference(schema: Mapping[str, Any], notice: str) -> str:
    """Every field of the resource's schema in tables, as Markdown that begins with the notice."""
    lines = [
        f"# {names.KIND} ({names.API_VERSION})",
        "",
        f"<!-- {notice} -->",
        "",
        "The API server refuses a resource that breaks a bound or a rule and names the field.",
        "",
        "## spec",
        "",
        *_table(schema["properties"]["spec"], "spec"),
        "",
        "## Rules across fields",
        "",
        *_rules(schema, ""),
        "",
        "## status",
        "",
        "Written by the operator alone.",
        "",
        *_table(schema["properties"]["status"], "status"),
    ]
    return "\n".join(lines) + "\n"
