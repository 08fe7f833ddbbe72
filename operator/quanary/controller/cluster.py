"""The API server: the one home of the Kubernetes client. Plain dicts in and out; nothing is cached or retried here."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.resource import Resource

from quanary.api import names
from quanary.controller.cache import Body

TIMEOUT_SECONDS: Final = 10
PAGE: Final = 500
QUERIES_PER_SECOND: Final = 20
BURST: Final = 30


@dataclass(frozen=True)
class Kind:
    """Where a kind lives in the API, and which of its objects concern the operator."""

    group: str
    version: str
    plural: str
    label_selector: str = ""
    field_selector: str = ""
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects spell it."""
        return f"{self.group}/{self.version}" if self.group else self.version


_OURS: Final = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
WATCHED: Final[Mapping[str, Kind]] = {
    names.KIND: Kind(names.GROUP, names.VERSION, names.PLURAL),
    "Deployment": Kind("apps", "v1", "deployments", _OURS),
    "Service": Kind("", "v1", "services", _OURS),
    "Job": Kind("batch", "v1", "jobs", _OURS),
    "HTTPRoute": Kind("gateway.networking.k8s.io", "v1", "httproutes", _OURS),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies", _OURS),
    "Pod": Kind("", "v1", "pods", _OURS),
    "ConfigMap": Kind("", "v1", "configmaps", field_selector=f"metadata.name={names.SWITCH}"),
    "Gateway": Kind("gateway.networking.k8s.io", "v1", "gateways"),
    "GatewayClass": Kind("gateway.networking.k8s.io", "v1", "gatewayclasses", is_namespaced=False),
}
EVENT: Final = Kind("events.k8s.io", "v1", "events")


def watched(namespace: str) -> Mapping[str, Kind]:
    """The kinds to watch; a Role in one namespace, unless empty, cannot grant those that belong to none."""
    return {name: kind for name, kind in WATCHED.items() if kind.is_namespaced or not namespace}


class ClusterError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed in a moment."""
        return self.status in (0, 429) or self.status >= 500


class Conflict(ClusterError):  # noqa: N818 - it is what happened
    """Somebody else wrote first, or the object is another one by now: look again."""


class NotFound(ClusterError):  # noqa: N818 - it is what happened
    """There is no such object, namespace or kind."""


class Invalid(ClusterError):  # noqa: N818 - it is what happened
    """The object breaks the kind's rules; its message names the field."""


class Unreachable(ClusterError):  # noqa: N818 - it is what happened
    """No answer in time. The write may have been done all the same."""


_ERRORS: Final[Mapping[int, type[ClusterError]]] = {400: Invalid, 404: NotFound, 409: Conflict, 422: Invalid}


@dataclass(frozen=True)
class Listing:
    """All objects of a kind at one moment."""

    bodies: list[Body]
    resource_version: str


class Cluster(Protocol):
    """What the operator asks of a cluster. Every method raises `ClusterError`."""

    async def apply(self, manifest: Body, *, urgent: bool = False) -> Body:
        """Server-side apply as the owner of every field in `manifest`; returns the object.

        With metadata.uid or resourceVersion it is refused (`Conflict`) on any other object or version.
        `urgent` passes the rate limit: a rollback waits for nobody.
        """
        ...

    async def apply_status(self, manifest: Body) -> Body:
        """Server-side apply of the status of a QuantizedModel.

        Here the API server heeds metadata.resourceVersion alone: a uid would not tell a successor of the same name.
        """
        ...

    async def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The object as etcd holds it now, or None."""
        ...

    async def list_all(self, kind: str, namespace: str = "") -> Listing:
        """Everything of a kind that concerns the operator, in one namespace unless empty, as etcd holds it now."""
        ...

    async def delete(self, body: Body) -> None:
        """Delete that very object (by uid), its dependants in the background; it may be gone already."""
        ...

    async def create_event(self, manifest: Body) -> None:
        """Record an events.k8s.io/v1 Event."""
        ...


class TokenBucket:
    """At most `rate` a second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = time.monotonic()

    async def take(self) -> None:
        """Wait for a token; those who wait are served in turn."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
        self._at = now
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


class ApiCluster:
    """A real API server. Paths of the kinds are known, so nothing is discovered and no cache file is written."""

    def __init__(self, client: Any, host: str) -> None:
        self._client = client
        self.host = host
        self._bucket = TokenBucket(QUERIES_PER_SECOND, BURST)

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator[Self]:
        """In a pod by its service account, elsewhere by KUBECONFIG; closed at the end."""
        configuration = kubernetes_client.Configuration()
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        else:
            # Read here: the client's own default is what the variable said when it was imported.
            file = os.environ.get("KUBECONFIG")
            await kubernetes_config.load_kube_config(config_file=file, client_configuration=configuration)
        async with kubernetes_client.ApiClient(configuration) as api:
            # Not awaited: awaiting it would discover every kind of the cluster.
            yield cls(DynamicClient(api), configuration.host)

    async def apply(self, manifest: Body, *, urgent: bool = False) -> Body:
        """See `Cluster`."""
        return await self._apply(manifest, "", urgent=urgent)

    async def apply_status(self, manifest: Body) -> Body:
        """See `Cluster`."""
        return await self._apply(manifest, "/status", urgent=False)

    async def _apply(self, manifest: Body, subresource: str, *, urgent: bool) -> Body:
        metadata = manifest["metadata"]
        path = self._path(WATCHED[manifest["kind"]], metadata["namespace"], metadata["name"])
        return await self._request(
            "patch",
            path + subresource,
            urgent=urgent,
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=names.FIELD_MANAGER,
            force_conflicts=True,
        )

    async def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """See `Cluster`."""
        try:
            return await self._request("get", self._path(WATCHED[kind], namespace, name))
        except NotFound:
            return None

    async def list_all(self, kind: str, namespace: str = "") -> Listing:
        """See `Cluster`."""
        where, bodies, token = WATCHED[kind], list[Body](), ""
        while True:
            # No resourceVersion: only then does the answer come from etcd and not from an older cache.
            page = await self._request(
                "get",
                self._path(where, namespace),
                label_selector=where.label_selector or None,
                field_selector=where.field_selector or None,
                limit=PAGE,
                _continue=token or None,
            )
            # Items of a list do not say what they are.
            bodies += [{"apiVersion": where.api_version, "kind": kind, **item} for item in page["items"]]
            token = page["metadata"].get("continue", "")
            if not token:
                return Listing(bodies, page["metadata"].get("resourceVersion", ""))

    async def delete(self, body: Body) -> None:
        """See `Cluster`."""
        metadata = body["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        path = self._path(WATCHED[body["kind"]], metadata["namespace"], metadata["name"])
        try:
            await self._request("delete", path, body=options)
        except NotFound:
            return

    async def create_event(self, manifest: Body) -> None:
        """See `Cluster`."""
        await self._request("post", self._path(EVENT, manifest["metadata"]["namespace"]), body=manifest)

    def _path(self, kind: Kind, namespace: str = "", name: str = "") -> str:
        resource = Resource(
            prefix="apis" if kind.group else "api",
            group=kind.group,
            api_version=kind.version,
            kind=kind.plural,
            namespaced=True,
            name=kind.plural,
            client=self._client,
        )
        return str(resource.path(name=name or None, namespace=namespace or None))

    async def _request(self, method: str, path: str, *, urgent: bool = False, **parameters: Any) -> Body:
        if not urgent:
            await self._bucket.take()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            response = await self._client.request(method, path, serialize=False, _request_timeout=timeout, **parameters)
            body: Body = await response.json()
        except ApiException as error:
            raise _ERRORS.get(error.status, ClusterError)(error.status, _message(error)) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(0, f"{method} {path}: {str(error) or 'no answer in time'}") from error
        return body


def _message(error: ApiException) -> str:
    """The part of a Status object that is for people, or whatever was answered instead."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or error.reason)
    try:
        status = json.loads(body)
    except ValueError:
        return body[:1024]
    return str(status.get("message", body) if isinstance(status, dict) else body)[:1024]
