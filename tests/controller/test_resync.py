import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from quanary.controller.cache import Body, Cache
from quanary.controller.cluster import ClusterError, NotFound
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics
from quanary.controller.queue import Queue
from quanary.controller.resync import concerned, keep_listing, keep_reading_switch, list_at_start, list_everything
from quanary.controller.settings import Settings
from tests.controller.fake_cluster import FakeCluster
from tests.controller.waiting import until

SETTINGS = Settings(own_namespace="quanary-system", resync=timedelta(milliseconds=10))
DIGITS, VAD = ModelKey("vision", "digits"), ModelKey("audio", "vad")


def body(kind: str, key: ModelKey) -> Body:
    return {"kind": kind, "metadata": {"namespace": key.namespace, "name": key.name, "resourceVersion": "1"}}


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    for key in (DIGITS, VAD):
        cluster.put(body("QuantizedModel", key))
    return cluster


async def test_everything_is_listed_and_every_model_is_woken(cluster: FakeCluster) -> None:
    cache = Cache()
    assert await list_everything(cluster, cache, SETTINGS) == {DIGITS, VAD}
    assert cache.get("QuantizedModel", "vision", "digits")


async def test_a_model_that_vanished_unseen_is_woken_too(cluster: FakeCluster) -> None:
    cache = Cache()
    await list_everything(cluster, cache, SETTINGS)
    await cluster.delete(cluster.objects["QuantizedModel", "audio", "vad"])
    cluster.put(body("Pod", ModelKey("vision", "later")))
    assert await list_everything(cluster, cache, SETTINGS) == {DIGITS, VAD}
    assert cache.get("QuantizedModel", "audio", "vad") is None


async def test_one_namespace_is_listed_if_one_is_watched(cluster: FakeCluster) -> None:
    assert await list_everything(cluster, Cache(), replace(SETTINGS, namespace="audio")) == {VAD}


async def test_a_missing_kind_fails_the_list_and_names_it(cluster: FakeCluster) -> None:
    cluster.failures["list", "HTTPRoute"] = NotFound(404, "the server could not find the requested resource")
    with pytest.raises(NotFound, match="HTTPRoute"):
        await list_everything(cluster, Cache(), SETTINGS)


async def test_the_first_list_waits_for_a_server_that_is_starting(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(seconds: float) -> None: ...

    monkeypatch.setattr("quanary.controller.resync.asyncio.sleep", at_once)
    cluster.failures["list", "Pod"] = ClusterError(429, "storage is (re)initializing")
    assert await list_at_start(cluster, Cache(), SETTINGS) == {DIGITS, VAD}
    cluster.failures["list", "Pod"] = ClusterError(403, "pods is forbidden")
    with pytest.raises(ClusterError, match="forbidden"):
        await list_at_start(cluster, Cache(), SETTINGS)
    monkeypatch.setattr("quanary.controller.resync.PATIENCE_SECONDS", -1)
    cluster.failures["list", "Pod"] = ClusterError(503, "etcd is gone")
    with pytest.raises(ClusterError, match="etcd is gone"):
        await list_at_start(cluster, Cache(), SETTINGS)


async def test_a_switch_outside_the_watched_namespace_is_polled(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quanary.controller.resync.SWITCH_SECONDS", 0.001)
    switch = ModelKey("quanary-system", "quanary-switch")
    settings, cache = replace(SETTINGS, namespace="audio"), Cache()
    cluster.put(body("ConfigMap", switch))
    await list_everything(cluster, cache, settings)
    assert cache.get("ConfigMap", *_parts(switch))
    woken: list[ModelKey] = []

    async def work(key: ModelKey) -> None:
        woken.append(key)

    queue = Queue(work, Metrics())
    tasks = [
        asyncio.create_task(queue.run(1)),
        asyncio.create_task(keep_reading_switch(cluster, cache, settings, queue)),
    ]
    del cluster.objects["ConfigMap", *_parts(switch)]
    await until(lambda: woken == [VAD])
    assert cache.get("ConfigMap", *_parts(switch)) is None
    await queue.close()
    tasks[1].cancel()
    await asyncio.wait(tasks)


def _parts(key: ModelKey) -> tuple[str, str]:
    return key.namespace, key.name


async def test_the_switch_concerns_its_namespace_and_the_operators_own_concerns_all(cluster: FakeCluster) -> None:
    cache = Cache()
    await list_everything(cluster, cache, SETTINGS)
    assert set(concerned(body("ConfigMap", ModelKey("audio", "quanary-switch")), cache, SETTINGS)) == {VAD}
    everywhere = body("ConfigMap", ModelKey("quanary-system", "quanary-switch"))
    assert set(concerned(everywhere, cache, SETTINGS)) == {DIGITS, VAD}
    assert list(concerned(body("Pod", DIGITS), cache, SETTINGS)) == []


async def test_listing_goes_on_after_a_failure_and_says_when_it_last_succeeded(cluster: FakeCluster) -> None:
    woken: set[ModelKey] = set()

    async def work(key: ModelKey) -> None:
        woken.add(key)

    metrics = Metrics()
    queue = Queue(work, metrics)
    cluster.failures["list", "Job"] = ClusterError(500, "etcd is leaving")
    tasks = [
        asyncio.create_task(queue.run(1)),
        asyncio.create_task(keep_listing(cluster, Cache(), SETTINGS, queue, metrics.list_clock)),
    ]
    await until(lambda: woken == {DIGITS, VAD})
    assert metrics.list_clock.has_succeeded
    assert not cluster.failures
    await queue.close()
    tasks[1].cancel()
    await asyncio.wait(tasks)


async def test_a_gateway_wakes_the_models_routed_through_it_and_a_class_wakes_all() -> None:
    cache = Cache()
    for key, parents in ((DIGITS, [{"name": "public"}]), (VAD, [{"name": "public", "namespace": "vision"}])):
        cache.put({**body("QuantizedModel", key), "spec": {"route": {"parentRefs": parents}}})
    other = ModelKey("audio", "other")
    cache.put({**body("QuantizedModel", other), "spec": {"route": {"parentRefs": [{"name": "public"}]}}})
    assert set(concerned(body("Gateway", ModelKey("vision", "public")), cache, SETTINGS)) == {DIGITS, VAD}
    assert set(concerned(body("Gateway", ModelKey("audio", "public")), cache, SETTINGS)) == {other}
    one = {"kind": "GatewayClass", "metadata": {"name": "one", "resourceVersion": "1"}}
    assert set(concerned(one, cache, SETTINGS)) == {DIGITS, VAD, other}


async def test_in_one_namespace_what_belongs_to_none_is_not_listed(cluster: FakeCluster) -> None:
    cluster.failures["list", "GatewayClass"] = ClusterError(403, "gatewayclasses is forbidden")
    assert await list_everything(cluster, Cache(), replace(SETTINGS, namespace="audio")) == {VAD}
    with pytest.raises(ClusterError, match="forbidden"):
        await list_everything(cluster, Cache(), SETTINGS)
