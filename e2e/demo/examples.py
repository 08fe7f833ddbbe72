"""The examples, as they are applied: with this cluster's registry and the digests of the files that were pushed."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parents[2] / "examples"
REGISTRY: Final = "registry.registry.svc:5000"  # as written in the examples
FOLDER_IN_REGISTRY: Final = "demo"

Manifest = dict[str, Any]


def load(name: str) -> Manifest:
    """The example `name`.yaml as a person reads it."""
    manifest: Manifest = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return manifest


def render(manifest: Manifest, digests: Mapping[str, str], registry: str = REGISTRY) -> Manifest:
    """The same resource with `registry` and the digests, by reference, of what lies there."""
    return {key: _rendered(value, digests, registry) for key, value in copy.deepcopy(manifest).items()}


def _rendered(node: Any, digests: Mapping[str, str], registry: str) -> Any:
    if isinstance(node, dict):
        node = {key: _rendered(value, digests, registry) for key, value in node.items()}
        uri = node.get("uri", "")
        prefix = f"oci://{registry}/{FOLDER_IN_REGISTRY}/"
        if "sha256" in node and uri.startswith(prefix):
            node["sha256"] = digests[uri.removeprefix(prefix)]
        return node
    if isinstance(node, list):
        return [_rendered(each, digests, registry) for each in node]
    return node.replace(f"oci://{REGISTRY}/", f"oci://{registry}/") if isinstance(node, str) else node


def faulty(manifest: Manifest, kind: str, image: str) -> Manifest:
    """A model under another name, served by the test image, with one step to stay at while a fault is on."""
    model = copy.deepcopy(manifest)
    name = f"{model['metadata']['name']}-{kind}"
    model["metadata"]["name"] = name
    spec = model["spec"]
    spec["artifacts"]["repository"] = f"oci://{REGISTRY}/{FOLDER_IN_REGISTRY}/{name}"
    spec["runtime"]["image"] = image
    spec["rollout"] |= {"steps": [50, 100], "dwell": "1h"}
    return model
