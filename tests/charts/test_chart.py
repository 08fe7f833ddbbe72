"""What the chart renders."""

from typing import Any

import pytest
import yaml

from quanary.api.crd import custom_resource_definition
from quanary.controller.cluster import EVENT, WATCHED
from quanary.controller.settings import Settings
from tests.charts.rendering import CHART, KUBERNETES, helm, one, template


def environment(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The operator's environment as the kubelet would fill it in."""
    [container] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    fields = {"metadata.namespace": one(objects, "Deployment")["metadata"]["namespace"]}
    return {
        each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


def rules(objects: list[dict[str, Any]], kind: str) -> dict[tuple[str, str], tuple[set[str], list[str]]]:
    """Verbs and names by (group, resource)."""
    return {
        (group, resource): (set(rule["verbs"]), rule.get("resourceNames", []))
        for rule in one(objects, kind, "quanary")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_helm_lint_is_clean() -> None:
    linted = helm("lint", "--strict", CHART)
    assert linted.returncode == 0, linted.stdout
    assert "[WARNING]" not in linted.stdout
    assert "[ERROR]" not in linted.stdout


def test_untouched_values_are_the_settings_defaults() -> None:
    assert Settings.from_environment(environment(template())) == Settings()


def test_values_reach_the_settings() -> None:
    values = {
        "runtimeImage": "registry.example/runtime:2",
        "image": {"pullPolicy": "Never"},
        "allowedHosts": ["models.example", "data.example:8443"],
        "insecureHosts": ["registry.local:5000"],
        "allowedImages": ["registry.example/"],
        "prometheus": {"url": "http://prometheus:9090"},
        "namespace": "ml",
        "tick": "2s",
        "workers": 8,
    }
    settings = Settings.from_environment(environment(template(values, namespace="operators")))
    assert settings.runtime_image == "registry.example/runtime:2"
    assert settings.image_pull_policy == "Never"
    assert settings.allowed_hosts == ("models.example", "data.example:8443")
    assert settings.insecure_hosts == ("registry.local:5000",)
    assert settings.allowed_images == ("registry.example/",)
    assert settings.prometheus_url == "http://prometheus:9090"
    assert settings.namespace == "ml"
    assert settings.own_namespace == "operators"
    assert settings.tick.total_seconds() == 2
    assert settings.workers == 8


def test_the_rendered_definition_is_the_models() -> None:
    expected = custom_resource_definition({"helm.sh/resource-policy": "keep"})
    assert one(template(), "CustomResourceDefinition") == yaml.safe_load(yaml.safe_dump(expected))


def test_the_definition_can_be_left_out() -> None:
    assert "CustomResourceDefinition" not in {each["kind"] for each in template({"crds": {"install": False}})}


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "quanary/operator:0.1.0"),
        ({"repository": "registry.example/q", "tag": "7"}, "registry.example/q:7"),
        ({"tag": "7", "digest": "sha256:" + "0" * 64}, "quanary/operator@sha256:" + "0" * 64),
    ],
)
def test_an_image_is_named_by_tag_or_digest(image: dict[str, str], expected: str) -> None:
    [container] = one(template({"image": image}), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == expected


def test_one_operator_at_a_time() -> None:
    spec = one(template(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_only_the_operator_gets_a_token() -> None:
    objects = template()
    assert one(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    assert one(objects, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True


@pytest.mark.parametrize("namespace", ["", "ml"])
def test_no_permission_is_a_wildcard_or_reads_secrets(namespace: str) -> None:
    objects = template({"namespace": namespace})
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    granted = [rule for role in roles for rule in role["rules"]]
    assert granted
    words = {word for rule in granted for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert "*" not in words
    assert words.isdisjoint({"secrets", "pods/exec", "escalate", "bind", "impersonate", "roles", "serviceaccounts"})


def test_every_kind_the_operator_watches_is_granted() -> None:
    granted = rules(template(), "ClusterRole")
    for kind in WATCHED.values():
        verbs, resource_names = granted[kind.group, kind.plural]
        assert verbs >= {"get", "list", "watch"}, kind.plural
        assert [f"metadata.name={name}" for name in resource_names] == [
            each for each in [kind.field_selector] if resource_names or each
        ]
    assert granted[EVENT.group, EVENT.plural][0] == {"create", "patch"}


def test_nothing_is_granted_that_the_operator_does_not_use() -> None:
    used = {(kind.group, kind.plural) for kind in [*WATCHED.values(), EVENT]}
    more = {("quanary.dev", "quantizedmodels/status"), ("quanary.dev", "quantizedmodels/finalizers")}
    assert set(rules(template(), "ClusterRole")) == used | more


def test_one_namespace_needs_no_cluster_role() -> None:
    objects = template({"namespace": "ml"})
    assert {each["kind"] for each in objects}.isdisjoint({"ClusterRole", "ClusterRoleBinding"})
    assert one(objects, "Role", "quanary")["metadata"]["namespace"] == "ml"
    assert one(objects, "RoleBinding", "quanary")["metadata"]["namespace"] == "ml"
    everywhere = rules(template(), "ClusterRole")
    # Classes belong to no namespace, so no Role can grant them.
    assert everywhere.pop(("gateway.networking.k8s.io", "gatewayclasses")) == ({"get", "list", "watch"}, [])
    assert rules(objects, "Role") == everywhere
    switch = one(objects, "Role", "quanary-switch")
    assert switch["metadata"]["namespace"] == "quanary-system"
    assert [rule["resourceNames"] for rule in switch["rules"]] == [["quanary-switch"]]


def test_the_operators_own_namespace_needs_one_role() -> None:
    objects = template({"namespace": "ml"}, namespace="ml")
    assert [each["metadata"]["name"] for each in objects if each["kind"] == "Role"] == ["quanary"]


def test_metrics_are_found_by_annotation_service_and_monitor() -> None:
    objects = template({"metrics": {"podMonitor": {"enabled": True}}})
    pod = one(objects, "Deployment")["spec"]["template"]
    [container] = pod["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"metrics": Settings().metrics_port, "health": Settings().health_port}
    assert pod["metadata"]["annotations"]["prometheus.io/scrape"] == "true"
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["metrics"])
    service, monitor = one(objects, "Service")["spec"], one(objects, "PodMonitor")["spec"]
    assert service["ports"] == [{"name": "metrics", "port": ports["metrics"], "targetPort": "metrics"}]
    assert monitor["podMetricsEndpoints"][0]["port"] == "metrics"
    for selector in (service["selector"], monitor["selector"]["matchLabels"]):
        assert selector.items() <= pod["metadata"]["labels"].items()
    assert "PodMonitor" not in {each["kind"] for each in template()}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('allowedHost=["models.example"]', "allowedHost"),
        ('image={"name": "q"}', "name"),
        ('tick="5"', "tick"),
        ("workers=0", "workers"),
        ("alpha=1", "alpha"),
        ("coreWatts=-1", "coreWatts"),
        ('image={"pullPolicy": "Sometimes"}', "pullPolicy"),
        ('prometheus={"url": "prometheus:9090"}', "url"),
        ('allowedHosts=["a,b"]', "allowedHosts"),
        ('image={"digest": "sha256:0"}', "digest"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, said: str) -> None:
    rendered = helm("template", "quanary", CHART, KUBERNETES, f"--set-json={setting}")
    assert rendered.returncode != 0
    assert said in rendered.stderr
    assert "values don't meet the specifications of the schema" in rendered.stderr
