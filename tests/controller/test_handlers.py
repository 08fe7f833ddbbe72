"""What an event does. That kopf delivers them is tried on a real API server, in tests/api."""

from typing import Any

import pytest

from quanary.controller import handlers
from quanary.controller.cache import Body, Cache
from quanary.controller.cluster import WATCHED
from quanary.controller.decision import ModelKey
from quanary.controller.settings import Settings

KEY = ModelKey("vision", "digits")


class Woken:
    """Stands in for the queue."""

    def __init__(self) -> None:
        self.keys: list[ModelKey] = []
        self.urgent: list[ModelKey] = []

    def add_all(self, keys: Any, *, urgent: bool = False) -> None:
        (self.urgent if urgent else self.keys).extend(keys)


def body(kind: str, version: int, **metadata: Any) -> Body:
    labels = {"quanary.dev/model": "digits"}
    named = {"namespace": "vision", "name": "digits", "resourceVersion": str(version), "labels": labels}
    return {"kind": kind, "metadata": {**named, **metadata}}


def take(event: str | None, event_body: Body, cache: Cache, woken: Woken) -> None:
    handlers.take_event(event, event_body, cache, woken, Settings())  # type: ignore[arg-type]


@pytest.mark.parametrize("event", [None, "ADDED", "MODIFIED"])
def test_an_event_is_remembered_and_wakes_its_model(event: str | None) -> None:
    cache, woken = Cache(), Woken()
    take(event, body("QuantizedModel", 5), cache, woken)
    assert cache.get("QuantizedModel", "vision", "digits")
    assert woken.keys == [KEY]


def test_the_echo_of_an_own_write_wakes_nobody() -> None:
    cache, woken = Cache(), Woken()
    cache.put(body("Service", 5))
    take("MODIFIED", body("Service", 5), cache, woken)
    take("MODIFIED", body("Service", 4), cache, woken)
    assert woken.keys == woken.urgent == []


def test_a_deletion_is_forgotten_and_wakes_its_model() -> None:
    cache, woken = Cache(), Woken()
    cache.put(body("Service", 5))
    take("DELETED", body("Service", 6), cache, woken)
    assert cache.get("Service", "vision", "digits") is None
    assert woken.keys == [KEY]


def test_pods_that_come_and_go_are_urgent() -> None:
    cache, woken = Cache(), Woken()
    take("MODIFIED", body("Pod", 5), cache, woken)
    assert (woken.keys, woken.urgent) == ([], [KEY])


def test_kopf_writes_nothing_scans_nothing_and_cannot_hang_unseen() -> None:
    settings = handlers.make_settings()
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.peering.standalone is True
    watching = settings.watching
    assert (watching.server_timeout, watching.client_timeout, watching.inactivity_timeout) == (240, 270, 70)
    # It is sent as it prints, and the server takes whole seconds alone.
    assert isinstance(watching.server_timeout, int)
    assert len(watching.label_selectors) == len(WATCHED) - 4
    assert list(watching.field_selectors.values()) == ["metadata.name=quanary-switch"]


def test_every_kind_is_watched_and_no_handler_is_stateful() -> None:
    registry = handlers.make_registry(Cache(), Woken(), Settings())  # type: ignore[arg-type]
    watched = {
        handler.selector.plural or handler.selector.any_name for handler in registry._watching.get_all_handlers()
    }
    assert watched == {kind.plural for kind in WATCHED.values()}
    in_one = handlers.make_registry(Cache(), Woken(), Settings(namespace="ml"))  # type: ignore[arg-type]
    assert watched - {
        each.selector.any_name or each.selector.plural for each in in_one._watching.get_all_handlers()
    } == {"gatewayclasses"}
    for stateful in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not list(stateful.get_all_handlers())
