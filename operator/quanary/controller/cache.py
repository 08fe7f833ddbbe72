"""What the watches and lists have shown: bodies by kind and name. Reads of a reconcile come from here.

Watches lose deletions, and an own write may be seen before or after its echo; so the newer resourceVersion always wins,
a deletion is remembered until a full list confirms it, and a full list drops what has vanished.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from quanary.api import names
from quanary.controller.decision import ModelKey

Body = dict[str, Any]

# A Gateway's status changes with every route of anybody: only what is read is kept, and only that is news.
_KEPT: Final = {"Gateway": ("spec", "gatewayClassName"), "GatewayClass": ("status", "supportedFeatures")}
# Listed too often to be worth their memory; the route's say when its weights were last written.
_KEEPS_MANAGED_FIELDS: Final = frozenset(("HTTPRoute",))


def owner_uid(body: Mapping[str, Any]) -> str:
    """uid of the controller of an object; empty without one."""
    return str(_controller(body).get("uid", ""))


def owner_name(body: Mapping[str, Any]) -> str:
    """Who controls an object, for people."""
    owner = _controller(body)
    return f"{owner['kind']} {owner['name']} ({owner['uid']})" if owner else "nobody"


def _controller(body: Mapping[str, Any]) -> Mapping[str, Any]:
    owners = body.get("metadata", {}).get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def model_key(body: Mapping[str, Any]) -> ModelKey | None:
    """The QuantizedModel that an object belongs to: itself, its owner's name, or what its labels say."""
    metadata = body.get("metadata", {})
    owner = _controller(body)
    labels = metadata.get("labels") or {}
    if body.get("kind") == names.KIND:
        name = metadata.get("name", "")
    elif owner.get("kind") == names.KIND:
        name = owner["name"]
    else:
        name = labels.get(names.LABEL_MODEL) or labels.get(names.LABEL_JOB_OF, "")
    return ModelKey(metadata.get("namespace", ""), name) if name else None


def _version(body: Mapping[str, Any]) -> int:
    # Comparable as numbers for one kind, which the API promises since 1.35 and etcd has always given.
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


class Cache:
    """Bodies by kind, namespace and name. Of one event loop; nothing in it is ever mutated."""

    def __init__(self) -> None:
        self._bodies: dict[str, dict[ModelKey, Body]] = {}
        self._deleted: dict[str, dict[ModelKey, int]] = {}

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The newest body seen, or None."""
        return self._bodies.get(kind, {}).get(ModelKey(namespace, name))

    def select(self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Iterator[Body]:
        """Bodies of a kind, of one namespace unless empty, that carry all of `labels`."""
        for body in self._bodies.get(kind, {}).values():
            carried = body["metadata"].get("labels") or {}
            is_here = not namespace or body["metadata"].get("namespace") == namespace
            if is_here and (labels or {}).items() <= carried.items():
                yield body

    def owned_by(self, uid: str) -> Iterator[Body]:
        """Every body whose controller has this uid."""
        for bodies in self._bodies.values():
            yield from (body for body in bodies.values() if owner_uid(body) == uid)

    def put(self, body: Body) -> bool:
        """Keep `body` unless a newer one, or its deletion, was seen. Whether it was news."""
        kind, key = _place(body)
        known = self._bodies.setdefault(kind, {}).get(key)
        version = _version(body)
        if version <= self._deleted.get(kind, {}).get(key, -1) or (known and version <= _version(known)):
            return False
        kept = self._bodies[kind][key] = _trimmed(body)
        return known is None or kind not in _KEPT or {**known, "metadata": {}} != {**kept, "metadata": {}}

    def forget(self, body: Body) -> None:
        """`body` was deleted; what was made since under its name stays."""
        kind, key = _place(body)
        version = _version(body)
        known = self._bodies.setdefault(kind, {}).get(key)
        if known and _version(known) <= version:
            del self._bodies[kind][key]
        deleted = self._deleted.setdefault(kind, {})
        deleted[key] = max(version, deleted.get(key, 0))

    def replace_all(
        self, kind: str, bodies: Iterable[Body], resource_version: str, namespace: str = ""
    ) -> set[ModelKey]:
        """Take a full list, of one namespace unless empty; returns the models whose objects changed or vanished.

        An object that is absent from the list but newer than it was made meanwhile, and stays.
        """
        at = int(resource_version) if resource_version.isdigit() else 0
        listed = {_place(body)[1]: body for body in bodies}
        changed = {model_key(body) for body in listed.values() if self.put(body)}
        kept = self._bodies.setdefault(kind, {})
        for key, body in list(kept.items()):
            if key not in listed and namespace in ("", key.namespace) and _version(body) <= at:
                changed.add(model_key(kept.pop(key)))
        deleted = self._deleted.get(kind, {})
        self._deleted[kind] = {key: version for key, version in deleted.items() if version > at}
        return {key for key in changed if key}


def _place(body: Body) -> tuple[str, ModelKey]:
    metadata = body["metadata"]
    return body["kind"], ModelKey(metadata.get("namespace", ""), metadata["name"])


def _trimmed(body: Body) -> Body:
    if body["kind"] in _KEPT:
        part, field = _KEPT[body["kind"]]
        identity = ("namespace", "name", "resourceVersion")
        metadata = {each: body["metadata"][each] for each in identity if each in body["metadata"]}
        return {"kind": body["kind"], "metadata": metadata, part: {field: (body.get(part) or {}).get(field)}}
    if body["kind"] in _KEEPS_MANAGED_FIELDS or "managedFields" not in body["metadata"]:
        return body
    metadata = {field: value for field, value in body["metadata"].items() if field != "managedFields"}
    return {**body, "metadata": metadata}
