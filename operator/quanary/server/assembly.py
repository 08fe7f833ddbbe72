"""What stands around the model, by settings: who runs it, who may answer instead, who watches.

Each part is put together in one function here; a part that the settings do not ask for is None.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from quanary.server.comparison import Comparison, Measure, Predictions, Relay, Sampler, TwinSettings
from quanary.server.cost import Cost
from quanary.server.data_plane import DataPlane
from quanary.server.drift import DriftCounts, DriftWatch, read_baselines
from quanary.server.engine import Engine
from quanary.server.engine.batch import ALONE, Plan
from quanary.server.engine.inline import InlineEngine
from quanary.server.engine.room import Room
from quanary.server.engine.sweep import plan
from quanary.server.engine.worker import WorkerEngine
from quanary.server.escalation import (
    BURST,
    Budget,
    Doubt,
    EscalateToFloat,
    FloatAlone,
    FloatLane,
    SayDoubt,
    confidence_of,
)
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.server.review import Origin, Reviews, SendToReview, Sink, Spool
from quanary.server.review.delivery import SPOOL_EVENTS_LIMIT
from quanary.server.session import ModelFile, Session
from quanary.server.settings import Settings
from quanary.server.traffic import Front, TwinTraffic, UserTraffic
from quanary.server.upstream import Upstream, UpstreamEngine
from quanary.wire.inference import CRITICAL, UNSURE
from quanary.wire.launch import SPOOL_BYTES_LIMIT, ServeArguments

WrapEngine = Callable[[Engine], Engine]
Background = Coroutine[Any, Any, None]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to answer."""

    signature: Signature
    engine: Engine
    upstream: Upstream | None = None  # where it runs, if not in this process


async def load(settings: Settings, model: ModelFile, metrics: Metrics) -> Loaded:
    """The model loaded, warmed up, and run the way that a sweep found best.

    Raises:
        UnservableModel: it cannot be served.
    """
    if settings.arguments.upstream:
        return await _load_upstream(settings, metrics)
    session, found = await asyncio.to_thread(_load_session, settings, model)
    room = Room(metrics.people)
    worker = WorkerEngine(session, found, room)
    engine = InlineEngine(session, found, room, worker) if found.tiny_elements else worker
    _log.info("loaded", batch=found.limit.rows, inline=bool(found.tiny_elements), run_seconds=found.run_seconds)
    return Loaded(session.signature, engine)


async def _load_upstream(settings: Settings, metrics: Metrics) -> Loaded:
    upstream = Upstream(settings.arguments.upstream, settings.arguments.name)
    signature = await upstream.wait_until_ready()
    engine = UpstreamEngine(upstream, signature, Room(metrics.people))
    _log.info("the model's server is ready", url=upstream.url)
    return Loaded(signature, engine, upstream)


def _load_session(settings: Settings, model: ModelFile) -> tuple[Session, Plan]:
    session = Session(model, settings.threads)
    try:
        session.warm_up()
    except Exception as error:  # noqa: BLE001
        # Zeros may be no sensible input; users' requests will tell.
        _log.warning("warm-up failed", reason=str(error))
        return session, ALONE
    # A request that comes when a batch has just begun waits for it and then for its own.
    return session, plan(session, settings.arguments.max_batch, settings.arguments.latency_budget_seconds / 2)


def surround(  # noqa: PLR0913, PLR0917 - the parts of a server
    settings: Settings,
    loaded: Loaded,
    front: Front,
    users: UserTraffic,
    twins: TwinTraffic,
    metrics: Metrics,
    wrap_engine: WrapEngine,
) -> list[Background]:
    """Put everything in its place, the front's data plane last, for from then on it is ready; what must run beside."""
    metrics.people.register(Cost(settings.arguments.core_watts, settings.arguments.core_hour_price))
    background = []
    measure = _measure(settings, loaded.signature, users, metrics)
    if comparison := _comparison(settings, front, loaded.signature, measure, metrics):
        users.observers.append(comparison)
        background.append(comparison.run())
        if settings.variant == "float":
            twins.observers.append(Relay(comparison))
    if drift := _drift_watch(settings, front, loaded.signature, metrics):
        users.observers.append(drift)
        twins.observers.append(drift)
    background += _escalation(settings, front, loaded.signature, users, twins, metrics)
    front.plane = DataPlane(front.name, loaded.signature, wrap_engine(loaded.engine))
    if loaded.upstream:
        background.append(loaded.upstream.watch(front, loaded.signature))
    return background


def _measure(settings: Settings, signature: Signature, users: UserTraffic, metrics: Metrics) -> Measure:
    """How answers are compared; classes are counted, other answers have a divergence."""
    measure = Measure.of(settings.arguments, signature)
    if measure.is_top1:
        users.observers.append(Predictions(measure, metrics))
    else:
        metrics.measure_divergence(measure.limit)
    return measure


def _comparison(
    settings: Settings, front: Front, signature: Signature, measure: Measure, metrics: Metrics
) -> Comparison | None:
    arguments = settings.arguments
    if not arguments.twin_url or not arguments.sample_ratio:
        return None
    twin = TwinSettings(arguments.twin_url, front.name, settings.variant, front.digest, front.deadline_seconds)
    return Comparison(twin, signature, measure, Sampler(arguments.sample_ratio), metrics)


def _escalation(
    settings: Settings,
    front: Front,
    signature: Signature,
    users: UserTraffic,
    twins: TwinTraffic,
    metrics: Metrics,
) -> list[Background]:
    """Who answers users instead of INT8, and who looks at its answers again."""
    arguments = settings.arguments
    if settings.variant != "int8":
        return []
    users.critical_policy = FloatAlone(_lane(arguments.twin_url, front, signature, CRITICAL), front.deadline_seconds)
    if not arguments.escalate_below:
        return []
    confidence = confidence_of(arguments.escalate_by, arguments.escalate_output, signature)
    # Twins ask a sample of what users ask: with the whole burst, shadow would forgive what users would get from INT8.
    doubt, doubt_of_twins = (
        Doubt(confidence, arguments.escalate_below, Budget(arguments.escalation_budget, time.monotonic, burst))
        for burst in (BURST, BURST * arguments.sample_ratio)
    )
    if lane := _lane(arguments.twin_url, front, signature, UNSURE) if arguments.escalate_to == "float" else None:
        users.policy = EscalateToFloat(doubt, lane, front.deadline_seconds, metrics)
        # What INT8 would not have answered a user is no mismatch either, or no such model could leave the shadow.
        twins.policy = SayDoubt(doubt_of_twins)
        return []
    reviews = _reviews(arguments, front, signature, doubt, metrics)
    users.policy = SendToReview(doubt, reviews, metrics)
    users.observers.append(reviews)
    return [reviews.run()]


def _lane(url: str, front: Front, signature: Signature, cause: str) -> FloatLane | None:
    return FloatLane(url, front.name, front.digest, signature, cause) if url else None


def _reviews(arguments: ServeArguments, front: Front, signature: Signature, doubt: Doubt, metrics: Metrics) -> Reviews:
    origin = Origin(front.name, front.digest, socket.gethostname(), signature)
    # In a pod, whose server listens to others, its own ports are nobody's sink.
    sink = Sink(arguments.review_sink, may_be_local=arguments.host in {"127.0.0.1", "::1", "localhost"})
    spool = Spool(Path(arguments.review_spool), lines_limit=SPOOL_EVENTS_LIMIT, bytes_limit=SPOOL_BYTES_LIMIT)
    return Reviews(doubt, origin, spool, sink, metrics)


def _drift_watch(settings: Settings, front: Front, signature: Signature, metrics: Metrics) -> DriftWatch | None:
    """Over the requests of users and of twins: together they are all traffic, whatever the artifact's weight."""
    path = settings.arguments.report
    if settings.variant != "int8" or not path:
        return None
    baselines = read_baselines(Path(path), front.digest, signature)
    if not baselines:
        return None
    return DriftWatch(baselines, signature, DriftCounts(metrics, [each.input for each in baselines]))
