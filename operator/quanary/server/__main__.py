"""`quanary serve`: start, answer, drain, end."""

import asyncio
import math
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvicorn
import uvloop
from typing_extensions import override

from quanary.api.names import short
from quanary.server.app import Front, TwinTraffic, UserTraffic, create_app, create_metrics_app
from quanary.server.asgi import Application
from quanary.server.assembly import Loaded, WrapEngine, load, surround
from quanary.server.logs import configure_logs
from quanary.server.machine import cpu_features
from quanary.server.metrics import Metrics
from quanary.server.session import ModelFile, UnservableModel, read_model
from quanary.server.settings import Settings
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError

# Longer than a gateway keeps an idle connection (Envoy: 1 h), so that it is never this side that ends one in use.
KEEP_ALIVE_SECONDS: Final = 3700
REFUSED: Final = 2

_log = structlog.get_logger(__name__)


def main(argv: list[str]) -> int:
    """Serve by command-line words."""
    return run(ServeArguments.parse(argv))


def run(arguments: ServeArguments, wrap_engine: WrapEngine = lambda engine: engine) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. `wrap_engine` may stand between every request and the model."""
    configure_logs()
    try:
        settings = Settings.of(arguments)
        _require_certified_cpu(settings)
        model = read_model(Path(arguments.model), arguments.digest)
    except RefusedError as error:
        _log.error("refused to start", reason=str(error))
        if arguments.termination_log:
            Path(arguments.termination_log).write_text(error.refusal.to_message())
        return REFUSED
    except (ValueError, UnservableModel) as error:
        _log.error("refused to start", reason=str(error))
        return REFUSED
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_signal(settings, model, wrap_engine))


def _require_certified_cpu(settings: Settings) -> None:
    """A certificate that is not portable speaks of one kind of CPU: on another, integer kernels may compute otherwise.

    Raises:
        RefusedError: this CPU is of another kind.
    """
    found = cpu_features()
    if settings.required_features and settings.required_features != frozenset(found):
        raise RefusedError(
            "spec.runtime.nodeSelector",
            f"a node whose CPU has {', '.join(found) or 'no integer kernels'}",
            f"CPUs as the artifact was certified on, with {', '.join(sorted(settings.required_features))}",
        )


async def _serve_until_signal(settings: Settings, model: ModelFile, wrap_engine: WrapEngine) -> int:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    try:
        return await serve(settings, model, stop, wrap_engine)
    except OSError as error:
        _log.error("refused to start", reason=str(error))
        return REFUSED


async def serve(settings: Settings, model: ModelFile, stop: asyncio.Event, wrap_engine: WrapEngine) -> int:
    """Serve until `stop` is set, then drain; the exit code.

    Raises:
        OSError: a port cannot be listened on.
    """
    arguments = settings.arguments
    front = Front(arguments.name, short(model.digest), arguments.deadline_seconds)
    metrics = Metrics(arguments.latency_budget_seconds, arguments.deadline_seconds)
    metrics.describe_model(name=front.name, digest=model.digest, variant=settings.variant)
    if settings.certified_features:
        metrics.describe_cpu(differs=settings.certified_features != frozenset(cpu_features()))
    users, twins = UserTraffic(front, metrics, settings.critical), TwinTraffic(front)
    apps = {arguments.http_port: create_app(front, users)}
    if arguments.twin_port:
        apps[arguments.twin_port] = create_app(front, twins)
    # Metrics last: they are stopped last, so that the drain is still seen.
    apps[arguments.metrics_port] = create_metrics_app(metrics)
    servers = [_start(app, arguments.host, port, arguments.deadline_seconds) for port, app in apps.items()]
    stopping = asyncio.create_task(stop.wait())
    try:
        loaded = await _load(settings, model, stopping)
        if loaded is not None:
            background = [
                asyncio.create_task(each)
                for each in surround(settings, loaded, front, users, twins, metrics, wrap_engine)
            ]
            _log.info("ready", model=front.name, digest=model.digest, variant=settings.variant, ports=list(apps))
            await stopping
            await _drain(front, servers[:-1], settings.notice_seconds)
            await _end(background)
    except UnservableModel as error:
        _log.error("refused to serve", reason=str(error))
        return REFUSED
    finally:
        stopping.cancel()
        await _stop(servers)
    _log.info("ended")
    return 0


async def _load(settings: Settings, model: ModelFile, stopping: "asyncio.Task[bool]") -> Loaded | None:
    """The warmed-up model, or None if it is time to stop before that."""
    loading = asyncio.create_task(load(settings, model))
    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    return loading.result() if loading.done() else None


async def _end(background: "list[asyncio.Task[None]]") -> None:
    for each in background:
        each.cancel()
    if background:
        await asyncio.wait(background)


class _Server(uvicorn.Server):
    """One of several servers in a process that minds its own signals."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@dataclass(frozen=True)
class _Running:
    server: uvicorn.Server
    task: "asyncio.Task[None]"


def _start(app: Application, host: str, port: int, deadline_seconds: float) -> _Running:
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(deadline_seconds) + 1,
    )
    server = _Server(config)
    return _Running(server, asyncio.create_task(server.serve(sockets=[listener])))


async def _drain(front: Front, servers: list[_Running], notice_seconds: float) -> None:
    front.is_draining = True
    _log.info("draining", notice_seconds=notice_seconds)
    # Endpoints and gateways take a moment to notice; until then requests still come and are answered.
    await asyncio.sleep(notice_seconds)
    await _stop(servers)


async def _stop(servers: list[_Running]) -> None:
    for each in servers:
        each.server.should_exit = True
    await asyncio.gather(*(each.task for each in servers))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
