"""The client against a real socket; tests/api tries it on a real API server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from quanary.controller import cluster as module
from quanary.controller.cluster import ApiCluster, ClusterError, Conflict, Invalid, NotFound, TokenBucket, Unreachable

Answer = Callable[[web.Request], Awaitable[web.Response]]
SERVICES = "/api/v1/namespaces/ns/services"
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "ns", "name": "a", "uid": "u"},
}


@asynccontextmanager
async def served(answer: Answer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiCluster]:
    """A client of a server on loopback that answers everything with `answer`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    file = folder / "kubeconfig"
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
                "users": [{"name": "test", "user": {}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    try:
        async with ApiCluster.connect() as cluster:
            yield cluster
    finally:
        await runner.cleanup()


async def test_reads_ask_etcd_and_writes_own_their_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, dict[str, str], str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.text()
        asked.append(
            (
                request.method,
                request.path,
                dict(request.query),
                request.content_type,
                json.loads(body) if body else None,
            )
        )
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    async with served(answer, tmp_path, monkeypatch) as cluster:
        await cluster.list_all("Service", "ns")
        await cluster.list_all("QuantizedModel")
        await cluster.get("Service", "ns", "a")
        await cluster.apply(SERVICE)
        await cluster.delete(SERVICE)
    # No resourceVersion in any read: that would be answered out of a cache, which may be of before a restart.
    assert [each[:3] for each in asked[:3]] == [
        ("GET", SERVICES, {"labelSelector": "app.kubernetes.io/managed-by=quanary", "limit": "500"}),
        ("GET", "/apis/quanary.dev/v1alpha1/quantizedmodels", {"limit": "500"}),
        ("GET", f"{SERVICES}/a", {}),
    ]
    method, path, query, content_type, body = asked[3]
    assert (method, path, content_type, body) == ("PATCH", f"{SERVICES}/a", "application/apply-patch+yaml", SERVICE)
    assert query["fieldManager"] == "quanary"
    assert query["force"].lower() == "true"
    method, path, query, _, options = asked[4]
    assert (method, path) == ("DELETE", f"{SERVICES}/a")
    assert (options["preconditions"], options["propagationPolicy"]) == ({"uid": "u"}, "Background")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (403, ClusterError), (404, NotFound), (409, Conflict), (422, Invalid), (503, ClusterError)],
)
async def test_a_refusal_keeps_its_status_and_its_message(
    status: int, kind: type[ClusterError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "message": 'spec.replicas: "x" is no number'}, status=status)

    async with served(answer, tmp_path, monkeypatch) as cluster:
        with pytest.raises(ClusterError) as caught:
            await cluster.apply(SERVICE)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(caught.value) == f'{status}: spec.replicas: "x" is no number'


async def test_what_is_not_there_is_none_and_may_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="404 page not found", status=404)

    async with served(answer, tmp_path, monkeypatch) as cluster:
        assert await cluster.get("Service", "ns", "a") is None
        await cluster.delete(SERVICE)
        with pytest.raises(NotFound, match="404 page not found"):
            await cluster.list_all("Service")


async def test_no_answer_in_time_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.1)
    never = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with served(answer, tmp_path, monkeypatch) as cluster:
        with pytest.raises(Unreachable, match=f"get {SERVICES}/a: no answer in time"):
            await cluster.get("Service", "ns", "a")
        never.set()


async def test_a_torn_answer_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text='{"metadata": {"na', content_type="application/json")

    async with served(answer, tmp_path, monkeypatch) as cluster:
        with pytest.raises(Unreachable):
            await cluster.get("Service", "ns", "a")


async def test_pages_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: web.Request) -> web.Response:
        page = int(request.query.get("continue", "1"))
        more = {"continue": str(page + 1)} if page < 3 else {}
        items = [{"metadata": {"name": f"s{page}", "namespace": "ns"}}]
        return web.json_response({"metadata": {"resourceVersion": "9", **more}, "items": items})

    async with served(answer, tmp_path, monkeypatch) as cluster:
        listing = await cluster.list_all("Service")
    assert [each["metadata"]["name"] for each in listing.bodies] == ["s1", "s2", "s3"]
    assert listing.resource_version == "9"


async def test_a_rollback_passes_the_rate_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERIES_PER_SECOND", 0.001)
    monkeypatch.setattr(module, "BURST", 1)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(SERVICE)

    async with served(answer, tmp_path, monkeypatch) as cluster, asyncio.timeout(60):
        await cluster.apply(SERVICE)
        held = asyncio.create_task(cluster.apply(SERVICE))
        await cluster.apply(SERVICE, urgent=True)
        assert not held.done()
        held.cancel()


async def test_a_bucket_gives_its_burst_and_then_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))

    monkeypatch.setattr("quanary.controller.cluster.time.monotonic", lambda: now)
    monkeypatch.setattr("quanary.controller.cluster.asyncio.sleep", sleep)
    bucket = TokenBucket(10, 2)
    for _ in range(4):
        await bucket.take()
    assert slept == [0.1, 0.2], "those who wait are served in turn"
    now = 101.0
    await bucket.take()
    assert len(slept) == 2
