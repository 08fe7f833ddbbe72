"""An API server in memory: uids, resource versions, preconditions and ownership as a real one has them."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from quanary.controller.cache import Body
from quanary.controller.cluster import ClusterError, Conflict, Listing

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeCluster:
    """Implements `Cluster`. `writes` holds (verb, kind, name) of every write that was asked for, in order."""

    def __init__(self, clock: Callable[[], datetime] = lambda: EPOCH) -> None:
        self.objects: dict[tuple[str, str, str], Body] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.applied: list[Body] = []
        self.events: list[Body] = []
        self.urgent: list[str] = []
        self.reads: list[tuple[str, str]] = []
        self.failures: dict[tuple[str, str], ClusterError] = {}  # by (verb, kind): raised once
        self._clock = clock
        self._version = 100

    def begin_as(self, other: "FakeCluster") -> None:
        """Hold what another one holds."""
        self.objects, self.writes, self._version = copy.deepcopy(other.objects), list(other.writes), other._version

    def put(self, body: Body) -> Body:
        """Place an object as somebody else would; returns it as stored."""
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        known = self.objects.get(key, {}).get("metadata", {})
        self._version += 1
        stored = copy.deepcopy(body)
        stored["metadata"] = {
            "uid": known.get("uid", f"uid-{self._version}"),
            "creationTimestamp": known.get("creationTimestamp", self._stamp()),
            "generation": known.get("generation", 0) + 1,
            **stored["metadata"],
            "resourceVersion": str(self._version),
        }
        self.objects[key] = stored
        return copy.deepcopy(stored)

    async def apply(self, manifest: Body, *, urgent: bool = False) -> Body:
        self._record("apply", manifest)
        self.applied.append(copy.deepcopy(manifest))
        if urgent:
            self.urgent.append(manifest["metadata"]["name"])
        live = self._check(manifest)
        wanted = copy.deepcopy(manifest)
        wanted["metadata"].pop("resourceVersion", None)
        if live is None:
            return self._written(wanted)
        merged = {**live, **wanted, "metadata": {**live["metadata"], **wanted["metadata"]}}
        if "annotations" not in wanted["metadata"]:
            merged["metadata"].pop("annotations", None)
        return copy.deepcopy(live) if merged == live else self._written(merged)

    def _written(self, body: Body) -> Body:
        body["metadata"]["managedFields"] = [{"manager": "quanary", "operation": "Apply", "time": self._stamp()}]
        generation = body["metadata"].pop("generation", 0)
        return self.put({**body, "metadata": {**body["metadata"], "generation": generation + 1}})

    async def apply_status(self, manifest: Body) -> Body:
        self._record("status", manifest)
        live = self._check(manifest)
        if live is None:
            raise ClusterError(404, "no such object")
        generation = live["metadata"]["generation"]
        return self.put(
            {**live, "status": manifest["status"], "metadata": {**live["metadata"], "generation": generation}}
        )

    async def get(self, kind: str, namespace: str, name: str) -> Body | None:
        self.reads.append((kind, name))
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    async def list_all(self, kind: str, namespace: str = "") -> Listing:
        self._fail("list", kind)
        bodies = [
            copy.deepcopy(body)
            for (each, where, _), body in self.objects.items()
            if each == kind and namespace in ("", where)
        ]
        return Listing(bodies, str(self._version))

    async def delete(self, body: Body) -> None:
        self._record("delete", body)
        key = (body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])
        live = self.objects.get(key)
        if live and live["metadata"]["uid"] != body["metadata"]["uid"]:
            raise Conflict(409, "uid precondition failed")
        self.objects.pop(key, None)

    async def create_event(self, manifest: Body) -> None:
        self.events.append(manifest)

    def _check(self, manifest: Body) -> Body | None:
        metadata = manifest["metadata"]
        live = self.objects.get((manifest["kind"], metadata["namespace"], metadata["name"]))
        current: dict[str, Any] = live["metadata"] if live else {}
        for field in ("uid", "resourceVersion"):
            if field in metadata and metadata[field] != current.get(field):
                raise Conflict(409, f"{field} precondition failed")
        return live

    def _record(self, verb: str, body: Body) -> None:
        self.writes.append((verb, body["kind"], body["metadata"]["name"]))
        self._fail(verb, body["kind"])

    def _fail(self, verb: str, kind: str) -> None:
        if error := self.failures.pop((verb, kind), None):
            raise error

    def _stamp(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
