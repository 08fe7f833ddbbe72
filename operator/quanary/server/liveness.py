"""A page beside the metrics that says whether the server behind the front still answers."""

import asyncio
import contextlib
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Final

from quanary.server.client import Broken, Unreachable
from quanary.server.data_plane import Answer, json_answer
from quanary.server.http.application import Application
from quanary.server.http.request import HttpRequest
from quanary.server.pool import Pool
from quanary.wire.launch import UPSTREAM_LIVE_PATH

# Less than the kubelet's patience.
ANSWER_SECONDS: Final = 3.0


class WatchingLiveness:
    """An application, and beside it GET /upstream/live: 503 if the other server takes connections and does not answer.

    For the kubelet, which cannot reach a server on the pod's loopback address. One that refuses connections is about
    to start, or has ended, which the kubelet sees by itself.
    """

    def __init__(self, app: Application, url: str) -> None:
        """Watch the server at `url`."""
        self._app = app
        self._url = url

    def answer(self, request: HttpRequest) -> Awaitable[Answer]:
        """The page, or what the application says."""
        return self._page() if request.path == UPSTREAM_LIVE_PATH else self._app.answer(request)

    def after(self, answer: Answer) -> None:
        """What the application does then."""
        self._app.after(answer)

    async def _page(self) -> Answer:
        is_live = await _is_live(self._url)
        return json_answer({"live": is_live}, 200 if is_live else 503)


async def _is_live(url: str) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with contextlib.closing(Pool(url, limit=1)) as pool:
                return (await pool.ask("GET", "/v2/health/live")).status == HTTPStatus.OK
    except Unreachable:
        return True
    except (Broken, TimeoutError):
        return False
