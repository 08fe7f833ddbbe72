"""A page beside the metrics that says whether the server behind the front still answers."""

import asyncio
import contextlib
from http import HTTPStatus
from typing import Final

from quanary.server.asgi import Application, Receive, Scope, Send, json_answer, send_answer
from quanary.server.client import Broken, Unreachable
from quanary.server.pool import Pool
from quanary.wire.launch import UPSTREAM_LIVE_PATH

# Less than the kubelet's patience.
ANSWER_SECONDS: Final = 3.0


def watching_liveness(url: str, app: Application) -> Application:
    """`app`, and beside it GET /upstream/live: 503 if the other server takes connections and does not answer.

    For the kubelet, which cannot reach a server on the pod's loopback address. One that refuses connections is about
    to start, or has ended, which the kubelet sees by itself.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != UPSTREAM_LIVE_PATH:
            await app(scope, receive, send)
            return
        is_live = await _is_live(url)
        await send_answer(send, json_answer({"live": is_live}, 200 if is_live else 503))

    return wrapped


async def _is_live(url: str) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with contextlib.closing(Pool(url, limit=1)) as pool:
                return (await pool.ask("GET", "/v2/health/live")).status == HTTPStatus.OK
    except Unreachable:
        return True
    except (Broken, TimeoutError):
        return False
