"""Children against a real API server: server-side apply, ownership, convergence, removal."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.dynamic import DynamicClient
from typing_extensions import override

from e2e.cluster.paths import GATEWAY_API_CRDS
from quanary.api import names
from quanary.api.v1alpha1 import QuantizedModelStatus
from quanary.controller import handlers
from quanary.controller.__main__ import watch
from quanary.controller.apply import NameTaken, apply, look_up, roll_back_route
from quanary.controller.cache import Body, Cache
from quanary.controller.children import Manifests, build
from quanary.controller.children.inputs import inputs_digest
from quanary.controller.children.route import backend_weights, digest_weights
from quanary.controller.cluster import ApiCluster, ClusterError, Conflict, Invalid, NotFound
from quanary.controller.decision import ModelKey, Observation, RouteSeen, Target
from quanary.controller.metrics import Metrics
from quanary.controller.queue import Queue
from quanary.controller.resync import list_everything
from quanary.controller.settings import Settings
from tests.controller.children.test_golden import ON_CLAIM, ON_ONE_CPU, PINNED
from tests.controller.models import FLOAT_ALONE, INT8, SPEC, canary, spec
from tests.controller.waiting import until

FLOAT_NAME, INT8_NAME = "digits-float-ffffffffff", "digits-int8-aaaaaaaaaa"
SETTINGS = Settings()


class CountingCluster(ApiCluster):
    """The real one, which also says what it was asked to write."""

    writes: list[str]

    @override
    async def _request(self, method: str, path: str, *, urgent: bool = False, **parameters: Any) -> Body:
        if method != "get":
            self.writes.append(f"{method} {path.rsplit('/', 1)[-1]}")
        return await super()._request(method, path, urgent=urgent, **parameters)


@dataclass
class World:
    """One model in a namespace of its own, the cache that follows it, and a clock that can be turned."""

    cluster: CountingCluster
    key: ModelKey
    uid: str
    cache: Cache = field(default_factory=Cache)
    late: timedelta = timedelta(0)

    def manifests(self, target: Target, **changes: Any) -> Manifests:
        wanted = spec(**changes)
        return build(self.key, self.uid, wanted, SETTINGS, target, inputs_digest(wanted))

    async def apply(self, target: Target, **changes: Any) -> timedelta | None:
        self.cluster.writes = []
        manifests = self.manifests(target, **changes)
        route = self.cache.get("HTTPRoute", self.key.namespace, self.key.name)
        seen = Observation(
            now=datetime.now(UTC) + self.late,
            key=self.key,
            uid=self.uid,
            generation=1,
            spec=spec(**changes),
            spec_error="",
            memory=QuantizedModelStatus(),
            inputs="",
            backends={},
            job=None,
            route=RouteSeen(digest_weights(route), accepted=True) if route else None,
            evidence=None,
        )
        await look_up(self.cluster, self.cache, self.uid, manifests)
        return await apply(self.cluster, self.cache, seen, manifests, target)

    async def refresh(self) -> None:
        await list_everything(self.cluster, self.cache, SETTINGS)

    async def live(self, kind: str, name: str) -> Body:
        body = await self.cluster.get(kind, self.key.namespace, name)
        assert body
        return body


@pytest.fixture(scope="module")
def gateway_api(client: DynamicClient) -> None:
    """The definitions of the Gateway API: the real ones where they were built, else their atomic lists alone."""
    crds = client.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    for kind, plural in (("HTTPRoute", "httproutes"), ("Gateway", "gateways"), ("GatewayClass", "gatewayclasses")):
        real = sorted(Path(GATEWAY_API_CRDS).glob(f"*_{plural}.yaml"))
        definition = yaml.safe_load(real[0].read_text()) if real else _stand_in(kind, plural)
        crds.server_side_apply(body=definition, field_manager="tests")


def _stand_in(kind: str, plural: str) -> Body:
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec_schema = {"type": "object", "properties": {"rules": {"type": "array", "items": free}}, **free}
    schema = {"type": "object", "properties": {"spec": spec_schema, "status": free}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.gateway.networking.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {
            "group": "gateway.networking.k8s.io",
            "names": {"kind": kind, "plural": plural},
            "scope": "Cluster" if kind == "GatewayClass" else "Namespaced",
            "versions": [version],
        },
    }


@pytest.fixture
async def world(
    gateway_api: None, client: DynamicClient, models: Any, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    namespaces = client.resources.get(api_version="v1", kind="Namespace")
    namespace = namespaces.create(body={"metadata": {"generateName": "apply-"}}).metadata.name
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": "digits", "namespace": namespace},
        "spec": SPEC,
    }
    created = models.create(body=body, namespace=namespace)
    async with CountingCluster.connect() as cluster:
        cluster.writes = []
        ready = World(cluster, ModelKey(namespace, "digits"), created.metadata.uid)
        await _until_served(cluster)
        yield ready


async def _until_served(cluster: ApiCluster) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await cluster.list_all("HTTPRoute")
            except ClusterError:  # not served yet, or still being set up
                await asyncio.sleep(0.05)
            else:
                return


async def test_every_child_is_accepted_as_it_was_built(world: World) -> None:
    await world.apply(canary(50, quantize=True))
    for manifest in world.manifests(canary(50, quantize=True)):
        live = await world.live(manifest["kind"], manifest["metadata"]["name"])
        assert live["metadata"]["ownerReferences"][0]["uid"] == world.uid
        managers = {each["manager"]: each["operation"] for each in live["metadata"]["managedFields"]}
        assert managers == {names.FIELD_MANAGER: "Apply"}


async def test_a_second_apply_writes_nothing_even_after_a_restart(world: World) -> None:
    await world.apply(canary(50, quantize=True))
    assert world.cluster.writes
    await world.apply(canary(50, quantize=True))
    assert world.cluster.writes == []
    world.cache = Cache()
    await world.refresh()
    await world.apply(canary(50, quantize=True))
    assert world.cluster.writes == []


async def test_quantities_that_the_server_rewrites_are_no_drift(world: World) -> None:
    change = {"runtime": {"resources": {"cpu": "1000m", "memory": "1024Mi"}}}
    await world.apply(canary(50), **change)
    await world.apply(canary(50), **change)
    assert world.cluster.writes == []


async def test_a_route_with_every_rule_is_taken_as_it_was_built(world: World) -> None:
    every_rule: dict[str, Any] = {
        "critical": {"path": "/critical"},
        "route": {"parentRefs": [{"name": "public"}], "path": "/digits", "hostnames": ["digits.example.com"]},
    }
    await world.apply(canary(50), **every_rule)
    assert len((await world.live("HTTPRoute", "digits"))["spec"]["rules"]) == 5
    world.cache = Cache()
    await world.refresh()
    await world.apply(canary(50), **every_rule)
    assert world.cluster.writes == []


async def test_claims_and_a_certificate_of_one_cpu_are_taken_and_are_no_drift(world: World) -> None:
    target = canary(50, running=(ON_CLAIM, ON_ONE_CPU), quantize=True)
    await world.apply(target, **PINNED)
    assert world.cluster.writes
    world.cache = Cache()
    await world.refresh()
    await world.apply(target, **PINNED)
    assert world.cluster.writes == []


async def test_a_changed_policy_rolls_the_pods_and_a_dropped_field_goes(world: World) -> None:
    await world.apply(FLOAT_ALONE, runtime={"nodeSelector": {"disk": "ssd"}})
    await world.apply(FLOAT_ALONE)
    assert world.cluster.writes == [f"patch {FLOAT_NAME}"]
    deployment = await world.live("Deployment", FLOAT_NAME)
    assert "nodeSelector" not in deployment["spec"]["template"]["spec"]


async def test_a_strangers_object_is_never_taken_over(world: World, client: DynamicClient) -> None:
    services = client.resources.get(api_version="v1", kind="Service")
    stranger = {"metadata": {"name": "digits-twin"}, "spec": {"ports": [{"port": 1}], "selector": {"app": "theirs"}}}
    services.create(body=stranger, namespace=world.key.namespace)
    with pytest.raises(NameTaken, match="digits-twin exists and is controlled by nobody"):
        await world.apply(FLOAT_ALONE)
    assert world.cluster.writes == []
    assert (await world.live("Service", "digits-twin"))["spec"]["selector"] == {"app": "theirs"}


async def test_a_weight_rises_only_on_the_version_that_was_seen(world: World, client: DynamicClient) -> None:
    await world.apply(canary(50))
    routes = client.resources.get(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute")
    touched = {"metadata": {"labels": {"touched": "yes"}}}
    routes.patch(
        name="digits",
        namespace=world.key.namespace,
        body=touched,
        content_type="application/merge-patch+json",
        field_manager="somebody",
    )
    with pytest.raises(Conflict):
        await world.apply(canary(250))
    assert backend_weights(await world.live("HTTPRoute", "digits"))[INT8_NAME] == 50
    await world.apply(canary(250))
    assert backend_weights(await world.live("HTTPRoute", "digits"))[INT8_NAME] == 250


async def test_a_rollback_carries_its_reason_through_stale_versions(world: World, client: DynamicClient) -> None:
    await world.apply(canary(250))
    routes = client.resources.get(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute")
    routes.patch(
        name="digits",
        namespace=world.key.namespace,
        body={"metadata": {"labels": {"touched": "yes"}}},
        content_type="application/merge-patch+json",
    )
    route = world.manifests(canary(0)).route
    assert route
    world.cluster.writes = []
    await roll_back_route(world.cluster, world.cache, route, f"{INT8}=mismatch: 9 % of answers differ")
    assert world.cluster.writes == ["patch digits"]
    live = await world.live("HTTPRoute", "digits")
    assert backend_weights(live)[INT8_NAME] == 0
    assert live["metadata"]["annotations"][names.ANNOTATION_CONDEMNED] == f"{INT8}=mismatch: 9 % of answers differ"


async def test_removal_waits_for_the_accepted_route_and_its_drain_and_takes_services_last(
    world: World, client: DynamicClient
) -> None:
    await world.apply(canary(50))
    _accept(client, await world.live("HTTPRoute", "digits"))
    await world.refresh()
    assert await world.apply(FLOAT_ALONE)
    assert world.cluster.writes == ["patch digits", "patch digits-twin"]

    _accept(client, await world.live("HTTPRoute", "digits"))
    await world.refresh()
    wait = await world.apply(FLOAT_ALONE)
    assert wait
    assert world.cluster.writes == []

    world.late = timedelta(seconds=6)
    assert await world.apply(FLOAT_ALONE) is None
    assert world.cluster.writes == [f"delete {INT8_NAME}", f"delete {INT8_NAME}"]
    assert await world.cluster.get("Deployment", world.key.namespace, INT8_NAME) is None
    assert await world.cluster.get("Service", world.key.namespace, INT8_NAME) is None
    assert await world.cluster.get("Service", world.key.namespace, FLOAT_NAME)


def _accept(client: DynamicClient, route: Body) -> None:
    routes = client.resources.get(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute")
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    parent = {"parentRef": {"name": "public"}, "controllerName": "tests.dev/gateway", "conditions": conditions}
    routes.status.patch(
        name=route["metadata"]["name"],
        namespace=route["metadata"]["namespace"],
        body={"status": {"parents": [parent]}},
        content_type="application/merge-patch+json",
    )


async def test_a_deletion_hits_that_very_object_and_no_successor(world: World) -> None:
    await world.apply(FLOAT_ALONE)
    service = await world.live("Service", FLOAT_NAME)
    other = {**service, "metadata": {**service["metadata"], "uid": "00000000-0000-4000-8000-000000000000"}}
    with pytest.raises(Conflict):
        await world.cluster.delete(other)
    await world.cluster.delete(service)
    await world.cluster.delete(service)  # gone already


async def test_an_object_that_is_gone_is_not_made_anew_under_its_old_identity(world: World) -> None:
    await world.apply(FLOAT_ALONE)
    await world.cluster.delete(await world.live("Deployment", FLOAT_NAME))
    with pytest.raises(Conflict):
        await world.apply(FLOAT_ALONE, runtime={"replicas": 2})
    await world.apply(FLOAT_ALONE, runtime={"replicas": 2})
    assert (await world.live("Deployment", FLOAT_NAME))["spec"]["replicas"] == 2


async def test_refusals_say_why(world: World) -> None:
    (deployment,) = world.manifests(FLOAT_ALONE).deployments
    with pytest.raises(Invalid, match=r"spec\.replicas"):
        await world.cluster.apply({**deployment, "spec": {**deployment["spec"], "replicas": -1}})
    elsewhere = {**deployment, "metadata": {**deployment["metadata"], "namespace": "nowhere"}}
    with pytest.raises(NotFound, match="nowhere"):
        await world.cluster.apply(elsewhere)


async def test_a_status_is_applied_to_the_version_that_was_seen(world: World) -> None:
    status = QuantizedModelStatus(observed_generation=1, because="float serves")
    seen = await world.live(names.KIND, world.key.name)
    version = seen["metadata"]["resourceVersion"]
    metadata = {"namespace": world.key.namespace, "name": world.key.name, "resourceVersion": version}
    body: Body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": metadata,
        "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    stored = await world.cluster.apply_status(body)
    assert stored["status"]["because"] == "float serves"
    with pytest.raises(Conflict):
        await world.cluster.apply_status({**body, "status": {**body["status"], "because": "of older news"}})


async def test_an_event_is_recorded(world: World, client: DynamicClient) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    await world.cluster.create_event(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": "digits-", "namespace": world.key.namespace},
            "eventTime": now,
            "action": "Reconcile",
            "reason": "Canary",
            "note": "5 % to INT8",
            "type": "Normal",
            "reportingController": "quanary.dev/operator",
            "reportingInstance": "tests",
            "regarding": {"kind": names.KIND, "name": "digits", "namespace": world.key.namespace},
        }
    )
    events = client.resources.get(api_version="events.k8s.io/v1", kind="Event")
    assert [each.note for each in events.get(namespace=world.key.namespace).items] == ["5 % to INT8"]


async def test_lists_are_paged_and_filtered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quanary.controller.cluster.PAGE", 2)
    await world.apply(canary(50))
    listing = await world.cluster.list_all("Service", world.key.namespace)
    assert len(listing.bodies) == 4
    assert {(each["kind"], each["apiVersion"]) for each in listing.bodies} == {("Service", "v1")}
    assert int(listing.resource_version) > 0
    assert "kubernetes" not in {each["metadata"]["name"] for each in (await world.cluster.list_all("Service")).bodies}


async def test_watches_follow_what_happens_and_wake_the_model(world: World, client: DynamicClient) -> None:
    woken: list[ModelKey] = []

    async def work(key: ModelKey) -> None:
        woken.append(key)

    cache, stop, ready = Cache(), asyncio.Event(), asyncio.Event()
    queue = Queue(work, Metrics())
    settings = replace(SETTINGS, namespace=world.key.namespace)
    working = asyncio.create_task(queue.run(1))
    watching = asyncio.create_task(watch(cache, queue, settings, stop, ready))
    try:
        await until(lambda: cache.get(names.KIND, *_where(world, "digits")))
        await world.apply(canary(50))
        await until(lambda: cache.get("HTTPRoute", *_where(world, "digits")))
        await until(lambda: cache.get("Service", *_where(world, "digits-twin")))
        assert set(woken) == {world.key}
        services = client.resources.get(api_version="v1", kind="Service")
        stranger = {"metadata": {"name": "stranger"}, "spec": {"ports": [{"port": 1}]}}
        services.create(body=stranger, namespace=world.key.namespace)
        await world.cluster.delete(await world.live("Deployment", INT8_NAME))
        await until(lambda: cache.get("Deployment", *_where(world, INT8_NAME)) is None)
        assert cache.get("Service", *_where(world, "stranger")) is None
        # kopf itself has written nothing: no finalizer, no annotation.
        model = await world.live(names.KIND, "digits")
        assert "finalizers" not in model["metadata"]
        assert not [each for each in model["metadata"].get("annotations", {}) if "kopf" in each]
    finally:
        await queue.close()
        stop.set()
        await asyncio.wait((working, watching), timeout=30)
    assert watching.exception() is None


def _where(world: World, name: str) -> tuple[str, str]:
    return world.key.namespace, name


def test_kopf_is_told_to_write_nothing() -> None:
    settings = handlers.make_settings()
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.peering.standalone is True
    assert isinstance(settings.watching.server_timeout, int)
