"""Questions to the twin over one kept-alive connection that never grows old."""

import asyncio
import math
import time
from collections.abc import Sequence

from quanary.server.client import ClientConnection, Response, connect


class TwinConnection:
    """At most one connection, opened by the first question and by the first after its lifetime."""

    def __init__(self, url: str, lifetime_seconds: float = math.inf) -> None:
        """Speak to `http://HOST:PORT`."""
        self._url = url
        self._lifetime_seconds = lifetime_seconds
        self._connection: ClientConnection | None = None
        self.opened_at = -math.inf  # by the monotonic clock

    async def ask(
        self, verb: str, path: str, headers: str = "", parts: Sequence[bytes] = (), seconds: float | None = None
    ) -> Response:
        """Send `parts` as one body, and wait for the answer, at most so many `seconds`; for `headers` see `Pool.ask`.

        Raises:
            Unreachable: nobody was there to be asked.
            Broken: the answer did not come whole.
            TimeoutError: the answer took too long.
        """
        connection = self._connection
        now = time.monotonic()
        if connection is None or not connection.is_open or now - self.opened_at > self._lifetime_seconds:
            self.close()
            connection = self._connection = await connect(self._url)
            self.opened_at = now
        if seconds is None:
            return await connection.ask(verb, path, headers, parts)
        # A timer, not a timeout of a task: that costs as much as reading the answer.
        late = asyncio.get_running_loop().call_later(seconds, connection.give_up)
        try:
            return await connection.ask(verb, path, headers, parts)
        finally:
            late.cancel()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
