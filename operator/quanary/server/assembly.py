"""What stands around the model, by settings: who runs it, who may answer instead, who watches.

Each part is put together in one function here; a part that the settings do not ask for is None.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from quanary.server.app import Front, TwinTraffic, UserTraffic
from quanary.server.comparison import Sampler
from quanary.server.data_plane import DataPlane
from quanary.server.engine import Engine, SessionEngine
from quanary.server.messages import Signature
from quanary.server.metrics import Metrics
from quanary.server.session import ModelFile, Session
from quanary.server.settings import Settings
from quanary.server.twin import Comparison, TwinSettings

WrapEngine = Callable[[Engine], Engine]
Background = Coroutine[Any, Any, None]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to answer."""

    signature: Signature
    engine: Engine


async def load(settings: Settings, model: ModelFile) -> Loaded:
    """The model loaded and warmed up.

    Raises:
        UnservableModel: it cannot be served.
    """
    session = await asyncio.to_thread(_load_session, model, settings.threads)
    return Loaded(session.signature, SessionEngine(session))


def _load_session(model: ModelFile, threads: int) -> Session:
    session = Session(model, threads)
    try:
        session.warm_up()
    except Exception as error:  # noqa: BLE001
        # Zeros may be no sensible input; users' requests will tell.
        _log.warning("warm-up failed", reason=str(error))
    return session


def surround(  # noqa: PLR0913, PLR0917 - the parts of a server
    settings: Settings,
    loaded: Loaded,
    front: Front,
    users: UserTraffic,
    twins: TwinTraffic,  # noqa: ARG001
    metrics: Metrics,
    wrap_engine: WrapEngine,
) -> list[Background]:
    """Put everything in its place, the front's data plane last, for from then on it is ready; what must run beside."""
    background = []
    if comparison := _comparison(settings, front, loaded.signature, metrics):
        users.observers.append(comparison)
        background.append(comparison.run())
    front.plane = DataPlane(front.name, loaded.signature, wrap_engine(loaded.engine))
    return background


def _comparison(settings: Settings, front: Front, signature: Signature, metrics: Metrics) -> Comparison | None:
    arguments = settings.arguments
    if not arguments.twin_url or not arguments.sample_ratio:
        return None
    twin = TwinSettings(arguments.twin_url, front.name, settings.variant, front.digest, front.deadline_seconds)
    return Comparison(twin, signature, Sampler(arguments.sample_ratio), metrics)
