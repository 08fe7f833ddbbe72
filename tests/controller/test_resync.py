import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from quanary.controller.cache import Body, Cache
from quanary.controller.cluster import ClusterError, NotFound
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics
from quanary.controller.queue import Queue
from quanary.controller.resync import concerned, keep_listing, list_everything
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
