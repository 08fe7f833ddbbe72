"""Whether a live object still is what was applied: its remembered hash, and every field that we own."""

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from quanary.api import names
from quanary.controller.children.manifest import Manifest

# Lists that others may add to (a mesh its sidecar, say), merged by the item's name; every other list is ours alone.
MERGED_LISTS: Final = frozenset(("containers", "initContainers", "volumes", "volumeMounts", "env", "ownerReferences"))
# Maps in which a stranger's key changes the meaning of ours.
WHOLE_MAPS: Final = frozenset(("selector", "nodeSelector", "matchLabels"))
_QUANTITY: Final = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(m|[kMGTPE]i?|Ki)?$")
_SUFFIXES: Final = {"m": Decimal("0.001"), "k": Decimal(1000), "Ki": Decimal(1024)} | {
    suffix + binary: Decimal(1024 if binary else 1000) ** power
    for power, suffix in enumerate("MGTPE", start=2)
    for binary in ("", "i")
}


def with_hash(manifest: Manifest) -> Manifest:
    """The manifest with its own hash in an annotation."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_APPLIED: manifest_hash(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def manifest_hash(manifest: Manifest) -> str:
    """A short hash of the manifest's content."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def is_applied(manifest: Manifest, live: Mapping[str, Any]) -> bool:
    """Whether applying `manifest` would change nothing.

    The hash finds fields that an older manifest had and this one has not; the comparison finds what others changed.
    """
    annotations = live.get("metadata", {}).get("annotations") or {}
    return annotations.get(names.ANNOTATION_APPLIED) == manifest_hash(manifest) and _is_within(manifest, live)


def _is_within(wanted: Any, live: Any, field: str = "") -> bool:
    if isinstance(wanted, Mapping):
        return _is_map_within(wanted, live, field)
    if isinstance(wanted, list):
        return _is_list_within(wanted, live, field)
    return bool(wanted == live) or _is_same_quantity(wanted, live)


def _is_map_within(wanted: Mapping[str, Any], live: Any, field: str) -> bool:
    if not isinstance(live, Mapping) or (field in WHOLE_MAPS and wanted.keys() != live.keys()):
        return False
    return all(_is_within(value, live.get(key), key) for key, value in wanted.items())


def _is_list_within(wanted: list[Any], live: Any, field: str) -> bool:
    if not wanted:
        return not live  # the API server leaves empty lists out
    if not isinstance(live, list):
        return False
    if field in MERGED_LISTS:
        by_name = {item.get("name"): item for item in live}
        return all(_is_within(item, by_name.get(item["name"])) for item in wanted)
    return len(wanted) == len(live) and all(map(_is_within, wanted, live))


def _is_same_quantity(wanted: Any, live: Any) -> bool:
    # The API server rewrites quantities: 1000m comes back as 1.
    if not (isinstance(wanted, str) and isinstance(live, str)):
        return False
    value = _quantity(wanted)
    return value is not None and value == _quantity(live)


def _quantity(text: str) -> Decimal | None:
    found = _QUANTITY.fullmatch(text)
    return Decimal(found[1]) * _SUFFIXES.get(found[2], Decimal(1)) if found else None
