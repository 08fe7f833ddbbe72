"""A real etcd and kube-apiserver with the resource's definition, one pair for the whole run."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from kubernetes import config
from kubernetes.client import ApiClient
from kubernetes.dynamic import DynamicClient

from e2e.cluster.control_plane import api_server
from quanary.api import names
from quanary.api.crd import custom_resource_definition

MANAGER = "tests"


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An administrator's kubeconfig of an API server that lives as long as the run."""
    with api_server(tmp_path_factory.mktemp("control-plane")) as path:
        yield path


@pytest.fixture(scope="session")
def client(kubeconfig: Path) -> Iterator[DynamicClient]:
    """A client of that API server, which knows the resource."""
    connection: ApiClient = config.new_client_from_config(str(kubeconfig))
    dynamic = DynamicClient(connection)
    crds = dynamic.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    crds.server_side_apply(body=custom_resource_definition(), field_manager=MANAGER)
    _wait_until_established(crds)
    dynamic.resources.invalidate_cache()
    yield dynamic
    connection.close()


def _wait_until_established(crds: Any) -> None:
    deadline = monotonic() + 30
    while True:
        crd = crds.get(name=f"{names.PLURAL}.{names.GROUP}").to_dict()
        # Null until the server's own controllers have seen it.
        conditions = {each["type"]: each["status"] for each in crd.get("status", {}).get("conditions") or ()}
        if conditions.get("Established") == "True":
            return
        assert monotonic() < deadline, f"not established: {conditions}"
        sleep(0.05)


@pytest.fixture(scope="session")
def models(client: DynamicClient) -> Any:
    """The API of QuantizedModels."""
    return client.resources.get(api_version=names.API_VERSION, kind=names.KIND)


@pytest.fixture
def good() -> dict[str, Any]:
    """The least a user has to say."""
    source = {"uri": "oci://registry.example/models:v1", "sha256": "0123456789abcdef" * 4}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "files", "namespace": "default"},
        "spec": {
            "model": dict(source),
            "artifacts": {"repository": "oci://registry.example/artifacts"},
            "quantization": {"calibration": {"data": dict(source)}},
            "validation": {"data": dict(source)},
            "route": {"parentRefs": [{"name": "gateway"}]},
        },
    }
