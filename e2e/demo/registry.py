"""What the demo brings along, in the cluster's OCI registry."""

import os
from typing import Final

from oras.client import OrasClient

from e2e.cluster import addresses, paths
from e2e.demo.build import LIVE, Files
from e2e.demo.examples import FOLDER_IN_REGISTRY, REGISTRY

MODEL_MEDIA_TYPE: Final = "application/vnd.onnx.model"
DATA_MEDIA_TYPE: Final = "application/vnd.quanary.samples.tar"


def pushed(files: Files) -> Files:
    """All but the live inputs."""
    return {reference: file for reference, file in files.items() if not reference.endswith(f":{LIVE}")}


def hosts() -> tuple[str, str]:
    """Where this machine pushes to, and where pods pull from: the registry of the cluster, or `REGISTRY`."""
    given = os.environ.get("REGISTRY", "")
    return (given, given) if paths.is_existing() and given else (addresses.registry(), REGISTRY)


def push(files: Files, host: str) -> None:
    """One manifest a file, the file its only layer."""
    client = OrasClient(hostname=host, insecure=True)
    for reference, file in files.items():
        media_type = MODEL_MEDIA_TYPE if file.path.suffix == ".onnx" else DATA_MEDIA_TYPE
        target, source = f"{host}/{FOLDER_IN_REGISTRY}/{reference}", f"{file.path}:{media_type}"
        client.push(target=target, files=[source], disable_path_validation=True).raise_for_status()
