"""`quanary serve`: start, answer, drain, end."""

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog
import uvloop

from quanary.api.names import short
from quanary.server.app import MetricsApp, ProtocolApp
from quanary.server.assembly import Background, Loaded, WrapEngine, load, surround
from quanary.server.critical import MarkedByPath
from quanary.server.http.application import Application
from quanary.server.http.port import HttpPort
from quanary.server.liveness import WatchingLiveness
from quanary.server.logs import configure_logs
from quanary.server.machine import cpu_features
from quanary.server.metrics import Metrics
from quanary.server.rpc.port import RpcPort
from quanary.server.session import ModelFile, UnservableModel, name_model, read_model
from quanary.server.settings import Settings
from quanary.server.traffic import Front, TwinTraffic, UserTraffic
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError

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
        model = (name_model if arguments.upstream else read_model)(Path(arguments.model), arguments.digest)
    except RefusedError as error:
        return _refuse(arguments, error)
    except (ValueError, UnservableModel) as error:
        _log.error("refused to start", reason=str(error))
        return REFUSED
    # What was imported stays: looking at all of it again and again would keep users waiting, 30 ms each time.
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve_until_signal(settings, model, wrap_engine))
    except RefusedError as error:
        # What the loaded model shows: it cannot be compared as the arguments ask.
        return _refuse(arguments, error)


def _refuse(arguments: ServeArguments, error: RefusedError) -> int:
    """Tell people and the controller why; the exit code."""
    _log.error("refused to start", reason=str(error))
    if arguments.termination_log:
        Path(arguments.termination_log).write_text(error.refusal.to_message())
    return REFUSED


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
    apps = _apps(settings, front, users, twins, metrics)
    ports = [HttpPort(app, arguments.host, port, arguments.deadline_seconds) for port, app in apps.items()]
    rpc = RpcPort(front, users, arguments.host, arguments.grpc_port) if arguments.grpc_port else None
    for each in ports:
        await each.start()
    if rpc:
        await rpc.start()
    stopping = asyncio.create_task(stop.wait())
    try:
        loaded = await _load(settings, model, metrics, stopping)
        if loaded is not None:
            background = [
                _in_background(each) for each in surround(settings, loaded, front, users, twins, metrics, wrap_engine)
            ]
            if rpc:
                await rpc.be_ready()
            _log.info(
                "ready",
                model=front.name,
                digest=model.digest,
                variant=settings.variant,
                ports=[*apps, *([arguments.grpc_port] if rpc else [])],
            )
            await stopping
            await _drain(front, rpc, settings.notice_seconds)
            await _stop(ports[:-1], rpc, arguments.deadline_seconds)
            await _end(background)
    except UnservableModel as error:
        _log.error("refused to serve", reason=str(error))
        return REFUSED
    finally:
        stopping.cancel()
        await _stop(ports, rpc, 0)
    _log.info("ended")
    return 0


def _apps(
    settings: Settings, front: Front, users: UserTraffic, twins: TwinTraffic, metrics: Metrics
) -> dict[int, Application]:
    """What answers on each port; metrics last: they are stopped last, so that the drain is still seen."""
    arguments = settings.arguments
    for_users: Application = ProtocolApp(front, users)
    if arguments.critical_path and settings.critical:
        for_users = MarkedByPath(for_users, arguments.critical_path, settings.critical)
    apps = {arguments.http_port: for_users}
    if arguments.twin_port:
        apps[arguments.twin_port] = ProtocolApp(front, twins)
    for_people: Application = MetricsApp(metrics)
    if arguments.upstream:
        for_people = WatchingLiveness(for_people, arguments.upstream)
    apps[arguments.metrics_port] = for_people
    return apps


async def _load(
    settings: Settings, model: ModelFile, metrics: Metrics, stopping: "asyncio.Task[bool]"
) -> Loaded | None:
    """The warmed-up model, or None if it is time to stop before that."""
    loading = asyncio.create_task(load(settings, model, metrics))
    await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
    return loading.result() if loading.done() else None


def _in_background(work: Background) -> "asyncio.Task[None]":
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_failure)
    return task


def _tell_failure(task: "asyncio.Task[None]") -> None:
    # Users are answered all the same; but nobody waits for this task, so nobody else would say so.
    if not task.cancelled() and (error := task.exception()):
        _log.error("what runs beside the answers failed", exc_info=error)


async def _end(background: "list[asyncio.Task[None]]") -> None:
    for each in background:
        each.cancel()
    if background:
        await asyncio.wait(background)


async def _drain(front: Front, rpc: RpcPort | None, notice_seconds: float) -> None:
    front.is_draining = True
    if rpc:
        await rpc.say_draining()
    _log.info("draining", notice_seconds=notice_seconds)
    # Endpoints and gateways take a moment to notice; until then requests still come and are answered.
    await asyncio.sleep(notice_seconds)


async def _stop(ports: Sequence[HttpPort], rpc: RpcPort | None, grace_seconds: float) -> None:
    stopping = [each.stop() for each in ports]
    if rpc:
        stopping.append(rpc.stop(grace_seconds))
    await asyncio.gather(*stopping)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
