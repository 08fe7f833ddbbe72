"""The rendered chart before a real API server: its objects, its permissions, its pods under restricted Pod Security."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from kubernetes.dynamic import DynamicClient

from tests.charts.rendering import one, template

NAMESPACE: Final = "quanary-system"
ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:quanary"
RBAC: Final = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def api(client: DynamicClient, body: dict[str, Any]) -> Any:
    return client.resources.get(api_version=body["apiVersion"], kind=body["kind"])


def apply(client: DynamicClient, body: dict[str, Any], *, dry_run: bool) -> None:
    """Server-side apply with every field checked."""
    api(client, body).server_side_apply(
        body=body,
        namespace=body["metadata"].get("namespace"),
        field_manager="helm",
        force_conflicts=True,
        dry_run="All" if dry_run else None,
        query_params=[("fieldValidation", "Strict")],
    )


@pytest.fixture(scope="module", autouse=True)
def namespaces(client: DynamicClient) -> None:
    """The operator's namespace, where only restricted pods are admitted, and one of a team."""
    for name in (NAMESPACE, "team"):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        apply(client, body, dry_run=False)


@pytest.mark.parametrize("namespace", ["", "team"], ids=["all namespaces", "one namespace"])
def test_every_object_is_accepted(client: DynamicClient, namespace: str) -> None:
    objects = template({"namespace": namespace})
    assert len(objects) >= 6
    for body in objects:
        apply(client, body, dry_run=True)


def test_the_operators_pod_is_restricted(client: DynamicClient) -> None:
    pod = one(template(), "Deployment")["spec"]["template"]
    body = {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {**pod["metadata"], "name": "operator"}}
    pods = api(client, body)
    assert pods.create(body=body, namespace=NAMESPACE, dry_run="All").metadata.name == "operator"


@pytest.fixture(params=["", "team"], ids=["all namespaces", "one namespace"])
def granted(client: DynamicClient, request: pytest.FixtureRequest) -> Iterator[str]:
    """The chart's permissions in force; the namespace that they are for, or an empty string."""
    objects = [each for each in template({"namespace": request.param}) if each["kind"] in RBAC]
    for body in objects:
        apply(client, body, dry_run=False)
    yield request.param
    for body in objects:
        api(client, body).delete(name=body["metadata"]["name"], namespace=body["metadata"].get("namespace"))


def may(client: DynamicClient, verb: str, resource: str, namespace: str, name: str = "") -> bool:
    """What the API server would answer the operator; resource is `plural[/subresource][.group]`."""
    resource, _, group = resource.partition(".")
    resource, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": resource, "subresource": subresource} | {
        "namespace": namespace,
        "name": name,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "groups": ["system:authenticated"], "resourceAttributes": asked},
    }
    return bool(api(client, body).create(body=body).status.allowed)


def test_the_operator_may_do_its_work_and_nothing_else(client: DynamicClient, granted: str) -> None:
    allowed = [
        ("patch", "deployments.apps", ""),
        ("delete", "jobs.batch", ""),
        ("create", "httproutes.gateway.networking.k8s.io", ""),
        ("patch", "quantizedmodels/status.quanary.dev", ""),
        ("update", "quantizedmodels/finalizers.quanary.dev", ""),
        ("watch", "gateways.gateway.networking.k8s.io", ""),
        ("watch", "configmaps", "quanary-switch"),
        ("create", "events.events.k8s.io", ""),
    ]
    denied = [
        ("get", "secrets", ""),
        ("list", "secrets", ""),
        ("patch", "quantizedmodels.quanary.dev", ""),
        ("create", "pods", ""),
        ("create", "pods/exec", ""),
        ("delete", "pods", ""),
        ("get", "configmaps", "settings"),
        ("list", "configmaps", ""),
        ("create", "serviceaccounts/token", ""),
        ("create", "rolebindings.rbac.authorization.k8s.io", ""),
        ("deletecollection", "deployments.apps", ""),
        ("patch", "gateways.gateway.networking.k8s.io", ""),
        ("create", "gatewayclasses.gateway.networking.k8s.io", ""),
    ]
    assert [each for each in allowed if not may(client, *each[:2], "team", each[2])] == []
    assert [each for each in denied if may(client, *each[:2], "team", each[2])] == []
    assert may(client, "get", "configmaps", NAMESPACE, "quanary-switch")
    assert may(client, "patch", "deployments.apps", "elsewhere") is (granted == "")
    assert may(client, "watch", "gatewayclasses.gateway.networking.k8s.io", "") is (granted == "")
