from typing import Any

from quanary.controller.cache import Body, Cache, model_key, owner_name, owner_uid
from quanary.controller.decision import ModelKey


def body(name: str = "a", version: int = 1, kind: str = "Deployment", namespace: str = "ns", **metadata: Any) -> Body:
    return {
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "resourceVersion": str(version), **metadata},
    }


def owned(uid: str, kind: str = "QuantizedModel", controller: bool = True) -> list[dict[str, Any]]:
    return [{"kind": kind, "name": "digits", "uid": uid, "controller": controller}]


def _names(cache: Cache, kind: str = "Deployment") -> set[str]:
    return {each["metadata"]["name"] for each in cache.select(kind)}


def test_the_newer_version_wins_whatever_the_order() -> None:
    cache = Cache()
    assert cache.put(body(version=10))
    assert not cache.put(body(version=9))
    assert not cache.put(body(version=10))
    assert cache.put(body(version=100))
    assert cache.get("Deployment", "ns", "a") == body(version=100)


def test_a_late_echo_does_not_bring_back_what_was_deleted() -> None:
    cache = Cache()
    cache.put(body(version=5))
    cache.forget(body(version=7))
    assert not cache.put(body(version=6))
    assert cache.get("Deployment", "ns", "a") is None
    assert cache.put(body(version=8)), "made anew"


def test_a_late_deletion_spares_the_successor() -> None:
    cache = Cache()
    cache.put(body(version=8))
    cache.forget(body(version=7))
    assert cache.get("Deployment", "ns", "a")


def test_a_full_list_drops_what_vanished_and_keeps_what_is_newer() -> None:
    cache = Cache()
    cache.put(body("vanished", 3, labels={"quanary.dev/model": "digits"}))
    cache.put(body("younger", 12))
    changed = cache.replace_all("Deployment", [body("listed", 9, ownerReferences=owned("u"))], "10")
    assert _names(cache) == {"listed", "younger"}
    assert changed == {ModelKey("ns", "digits")}


def test_a_list_of_one_namespace_leaves_others_alone() -> None:
    cache = Cache()
    cache.put(body("a", 1, namespace="one"))
    cache.put(body("b", 1, namespace="two"))
    cache.replace_all("Deployment", [], "10", "one")
    assert _names(cache) == {"b"}


def test_a_list_that_began_before_a_deletion_does_not_undo_it() -> None:
    cache = Cache()
    cache.put(body(version=5))
    cache.forget(body(version=7))
    cache.replace_all("Deployment", [body(version=5)], "6")
    assert _names(cache) == set()


def test_ownership_is_by_the_controllers_uid() -> None:
    cache = Cache()
    cache.put(body("mine", ownerReferences=owned("u1")))
    cache.put(body("watched", ownerReferences=owned("u1", controller=False)))
    cache.put(body("other", ownerReferences=owned("u2")))
    assert [owner_uid(each) for each in cache.owned_by("u1")] == ["u1"]
    assert owner_name(body()) == "nobody"
    assert owner_name(body(ownerReferences=owned("u1"))) == "QuantizedModel digits (u1)"


def test_selection_is_by_namespace_and_all_labels() -> None:
    cache = Cache()
    cache.put(body("a", labels={"x": "1", "y": "2"}))
    cache.put(body("b", labels={"x": "1"}))
    assert [each["metadata"]["name"] for each in cache.select("Deployment", "ns", {"x": "1", "y": "2"})] == ["a"]
    assert list(cache.select("Deployment", "elsewhere")) == []


def test_the_model_is_found_from_itself_its_owner_or_the_labels() -> None:
    assert model_key(body("digits", kind="QuantizedModel")) == ModelKey("ns", "digits")
    assert model_key(body(ownerReferences=owned("u"))) == ModelKey("ns", "digits")
    pod = body(kind="Pod", ownerReferences=owned("u", kind="ReplicaSet"), labels={"quanary.dev/model": "vad"})
    assert model_key(pod) == ModelKey("ns", "vad")
    assert model_key(body(kind="Pod", labels={"quanary.dev/job-of": "vad"})) == ModelKey("ns", "vad")
    assert model_key(body(kind="Pod")) is None


def test_managed_fields_are_kept_for_routes_alone() -> None:
    cache = Cache()
    cache.put(body(managedFields=[{}]))
    cache.put(body(kind="HTTPRoute", managedFields=[{}]))
    kept = {
        kind: "managedFields" in each["metadata"] for kind in ("Deployment", "HTTPRoute") for each in cache.select(kind)
    }
    assert kept == {"Deployment": False, "HTTPRoute": True}


def test_of_gateways_only_what_is_read_is_kept_and_is_news() -> None:
    cache = Cache()
    gateway = body("public", kind="Gateway", managedFields=[{}])
    assert cache.put({**gateway, "spec": {"gatewayClassName": "one", "listeners": []}, "status": {"listeners": []}})
    busy = {**gateway, "metadata": {**gateway["metadata"], "resourceVersion": "1000"}}
    assert not cache.put(
        {**busy, "spec": {"gatewayClassName": "one"}, "status": {"listeners": [{"attachedRoutes": 9}]}}
    )
    moved = {**gateway, "metadata": {**gateway["metadata"], "resourceVersion": "1001"}}
    assert cache.put({**moved, "spec": {"gatewayClassName": "two"}})
    kept = cache.get("Gateway", "ns", "public")
    assert kept
    assert (kept["spec"], kept["metadata"].keys()) == (
        {"gatewayClassName": "two"},
        {"namespace", "name", "resourceVersion"},
    )


def test_what_a_class_supports_is_kept_without_a_namespace() -> None:
    cache = Cache()
    declared = [{"name": "HTTPRoutePathRewrite"}]
    found: dict[str, Any] = {
        "kind": "GatewayClass",
        "metadata": {"name": "one", "resourceVersion": "5"},
        "spec": {"controllerName": "c"},
    }
    assert cache.put({**found, "status": {"supportedFeatures": declared, "conditions": []}})
    kept = cache.get("GatewayClass", "", "one")
    assert kept
    assert kept["status"] == {"supportedFeatures": declared}
    cache.forget({**found, "metadata": {**found["metadata"], "resourceVersion": "6"}})
    assert cache.get("GatewayClass", "", "one") is None
