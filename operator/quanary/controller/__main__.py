"""The operator as a process: wires the parts, runs them, and ends when any of them does."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import kopf
import prometheus_client
import structlog

from quanary.api import names
from quanary.controller import handlers
from quanary.controller.cache import Cache
from quanary.controller.cluster import ApiCluster
from quanary.controller.decision import ModelKey
from quanary.controller.health import LONGEST_RUN_SECONDS, Check, Heart, at_most, serve_health
from quanary.controller.metrics import Metrics
from quanary.controller.queue import Queue
from quanary.controller.reconcile import reconcile
from quanary.controller.resync import is_switch_elsewhere, keep_listing, keep_reading_switch, list_at_start
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Prometheus, Telemetry
from quanary.controller.world import World

# Longer than any request may take: a run in progress is finished, not torn.
LAST_RUNS_SECONDS: Final = 20
# A list may be missed now and then; three in a row mean that the process has lost the cluster.
LISTS_MISSED: Final = 3

Tick = Callable[[], Awaitable[Iterable[ModelKey]]]

log = structlog.get_logger()


def main(argv: Sequence[str]) -> int:
    """Run the operator until SIGTERM (0) or until something that cannot be healed from inside fails (1)."""
    parser = argparse.ArgumentParser("quanary controller", description="Settings come from QUANARY_* variables.")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning"))
    arguments = parser.parse_args(list(argv))
    set_up_logging(arguments.log_level)
    try:
        settings = Settings.from_environment(os.environ)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        asyncio.run(run(settings))
    except Exception as error:
        log.exception("operator failed", error=str(error) or repr(error))
        return 1
    return 0


def set_up_logging(level: str) -> None:
    """One JSON object a line on stdout, from structlog and from what logs through the standard library (kopf)."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It speaks of every event of every object.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


async def run(settings: Settings) -> None:
    """Run every part until SIGTERM or SIGINT.

    Raises:
        ClusterError: the first full list failed.
        RuntimeError: a part that runs for ever ended.
    """
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(ApiCluster.connect())
        metrics, cache = Metrics(), Cache()
        prometheus = Prometheus(settings.prometheus_url)
        stack.callback(prometheus.close)
        telemetry = Telemetry(prometheus, settings)
        metrics.seconds_since_query.set_function(lambda: telemetry.seconds_since_success(_now()))
        world = World(cluster, cache, telemetry, settings, _now, metrics)
        queue = Queue(lambda key: _reconcile(world, key), metrics)
        heart = Heart()
        stack.enter_context(serve_health(settings.health_port, _live(heart, queue, metrics, settings), _ready(metrics)))
        stack.callback(_serve_metrics(settings, metrics))
        beating = asyncio.create_task(heart.beat())
        stack.callback(beating.cancel)

        queue.add_all(await list_at_start(cluster, cache, settings))
        metrics.list_clock.succeeded()
        log.info("listed everything", models=sum(1 for _ in cache.select(names.KIND)))
        parts: dict[str, Coroutine[Any, Any, None]] = {
            "workers": queue.run(settings.workers),
            "resync": keep_listing(cluster, cache, settings, queue, metrics.list_clock),
            "telemetry": keep_ticking(lambda: telemetry.tick(_now()), queue, settings.fast_tick),
        }
        if is_switch_elsewhere(settings):
            parts["switch"] = keep_reading_switch(cluster, cache, settings, queue)
        await run_parts(queue, parts, lambda stop, ready: watch(cache, queue, settings, stop, ready))


def _now() -> datetime:
    return datetime.now(UTC)


async def keep_ticking(tick: Tick, queue: Queue, interval: timedelta) -> None:
    """Gather evidence on a steady beat; wake at once the models whose outcome changed."""
    loop = asyncio.get_running_loop()
    at = loop.time()
    while True:
        queue.add_all(await tick(), urgent=True)
        # A tick that took too long is followed at once, but never by a burst of those missed.
        at = max(at + interval.total_seconds(), loop.time())
        await asyncio.sleep(at - loop.time())


async def run_parts(
    queue: Queue,
    parts: dict[str, Coroutine[Any, Any, None]],
    watching_with: Callable[[asyncio.Event, asyncio.Event], Coroutine[Any, Any, None]],
) -> None:
    stop, stop_watch, watching = asyncio.Event(), asyncio.Event(), asyncio.Event()
    _on_signals(stop)
    # kopf ends every task that is younger than itself, so it is the last to start and the last to stop.
    tasks = [asyncio.create_task(part, name=name) for name, part in parts.items()]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    watcher = asyncio.create_task(watching_with(stop_watch, watching), name="watch")
    again = asyncio.create_task(_take_signals_back(watching, stop), name="signals")
    done, _ = await asyncio.wait((*tasks, watcher, stopping), return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping", because=sorted(task.get_name() for task in done))
    await queue.close()
    workers, *others = tasks
    await asyncio.wait((workers,), timeout=LAST_RUNS_SECONDS)
    stop_watch.set()
    for task in (*others, workers, stopping, again):
        task.cancel()
    results = await asyncio.gather(*tasks, watcher, return_exceptions=True)
    for task, result in zip((*tasks, watcher), results, strict=True):
        if isinstance(result, Exception):
            raise RuntimeError(f"{task.get_name()} failed: {result}") from result  # noqa: TRY004
    # kopf takes a signal for itself until it is ready; then its end is the stop that was asked for.
    if not stop.is_set() and watcher not in done:
        raise RuntimeError(f"{sorted(task.get_name() for task in done)} ended")


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _take_signals_back(watching: asyncio.Event, stop: asyncio.Event) -> None:
    await watching.wait()
    _on_signals(stop)


async def watch(cache: Cache, queue: Queue, settings: Settings, stop: asyncio.Event, ready: asyncio.Event) -> None:
    await kopf.operator(
        registry=handlers.make_registry(cache, queue, settings),
        settings=handlers.make_settings(),
        # Never used, but asked of the user database otherwise, which does not know a pod's user.
        identity=names.MANAGED_BY,
        standalone=True,
        clusterwide=not settings.namespace,
        namespaces=(settings.namespace,) if settings.namespace else (),
        stop_flag=stop,
        ready_flag=ready,
    )


async def _reconcile(world: World, key: ModelKey) -> timedelta | None:
    body = world.cache.get(names.KIND, key.namespace, key.name)
    metadata = body["metadata"] if body else {}
    # Left bound after the run, so that the queue's word on a failure carries them too; every worker has its own.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        namespace=key.namespace,
        name=key.name,
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
    )
    return await reconcile(world, key)


def _live(heart: Heart, queue: Queue, metrics: Metrics, settings: Settings) -> dict[str, Check]:
    oldest_list = settings.resync.total_seconds() * LISTS_MISSED
    return {
        "loop": heart.check,
        "workers": at_most("a reconcile has run for", queue.longest_running_seconds, LONGEST_RUN_SECONDS),
        "list": at_most("no full list for", metrics.list_clock.seconds, oldest_list),
    }


def _ready(metrics: Metrics) -> dict[str, Check]:
    return {"list": lambda: "" if metrics.list_clock.has_succeeded else "nothing was listed yet"}


def _serve_metrics(settings: Settings, metrics: Metrics) -> Callable[[], None]:
    server, thread = prometheus_client.start_http_server(settings.metrics_port, registry=metrics.registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
