"""kopf as a watch adapter and nothing else: events go into the cache, keys into the queue.

None of its stateful handlers, timers, daemons, indices or peering is used: each loses or invents work in ways that a
level-triggered loop cannot repair. It writes nothing to the cluster.
"""

from typing import Any, Final

import kopf

from quanary.api import names
from quanary.controller.cache import Body, Cache
from quanary.controller.cluster import WATCHED, watched
from quanary.controller.queue import Queue
from quanary.controller.resync import concerned
from quanary.controller.settings import Settings

# Whole seconds: kopf sends it as it is printed. The server ends a watch first, the client a little later.
SERVER_TIMEOUT_SECONDS: Final = 240
CLIENT_TIMEOUT_SECONDS: Final = 270


def take_event(event_type: str | None, body: Body, cache: Cache, queue: Queue, settings: Settings) -> None:
    """Remember what a watch showed and wake whom it concerns."""
    if event_type == "DELETED":
        cache.forget(body)
    elif not cache.put(body):
        return  # the echo of an own write, or older than what is known
    # Pods that come and go move traffic: they are not to wait behind a full list.
    is_urgent = body["kind"] in ("Pod", "Deployment", "HTTPRoute", "ConfigMap")
    queue.add_all(concerned(body, cache, settings), urgent=is_urgent)


def make_registry(cache: Cache, queue: Queue, settings: Settings) -> kopf.OperatorRegistry:
    """One handler of raw events for each watched kind, and where to log in."""
    registry = kopf.OperatorRegistry()

    async def on_event(event: Any, **_: Any) -> None:
        take_event(event["type"], event["object"], cache, queue, settings)

    for kind in watched(settings.namespace).values():
        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(on_event)

    def log_in(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:
        # Again on every 401: a service account's token is renewed on disk.
        found = kopf.login_with_kubeconfig(settings=settings) or kopf.login_with_service_account(settings=settings)
        return found or None

    kopf.on.login(registry=registry)(log_in)
    return registry


def make_settings() -> kopf.OperatorSettings:
    """kopf's settings: no writes, no scanning, streams that cannot hang unseen."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = SERVER_TIMEOUT_SECONDS
    settings.watching.client_timeout = CLIENT_TIMEOUT_SECONDS
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 500
    for kind in WATCHED.values():
        selector = (kind.group, kind.version, kind.plural)
        if kind.label_selector:
            settings.watching.label_selectors[selector] = kind.label_selector
        if kind.field_selector:
            settings.watching.field_selectors[selector] = kind.field_selector
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.queueing.worker_limit = 50
    settings.process.ultimate_exiting_timeout = 30
    # Never written, since no handler is stateful; ours all the same, should one ever be.
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{names.GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{names.GROUP}")
    return settings
