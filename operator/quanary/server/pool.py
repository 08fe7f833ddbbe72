"""Questions to one server over a pool of kept-alive connections."""

import asyncio
from collections.abc import Sequence

from quanary.server.client import ClientConnection, Response, Stale, connect


class Pool:
    """As many connections as questions are under way, but no more than a limit; the rest wait their turn."""

    def __init__(self, url: str, limit: int) -> None:
        """Speak to `http://HOST:PORT`, over `limit` connections at most."""
        self._url = url
        self._places = asyncio.Semaphore(limit)
        self._idle: list[ClientConnection] = []

    def place(self) -> asyncio.Semaphore:
        """What to hold, by `async with`, around `ask`: its turn among the connections."""
        return self._places

    async def ask(self, verb: str, path: str, headers: str = "", parts: Sequence[bytes] = ()) -> Response:
        """Send `parts` as one body, and wait for the answer. `headers` are whole lines, each with its end.

        Raises:
            Unreachable: nobody was there to be asked.
            Broken: the answer did not come whole.
        """
        while self._idle:
            try:
                return await self._ask_over(self._idle.pop(), verb, path, headers, parts)
            except Stale:
                continue
        return await self._ask_over(await connect(self._url), verb, path, headers, parts)

    def close(self) -> None:
        """End the connections that nobody uses now."""
        while self._idle:
            self._idle.pop().close()

    async def _ask_over(
        self, connection: ClientConnection, verb: str, path: str, headers: str, parts: Sequence[bytes]
    ) -> Response:
        response = await connection.ask(verb, path, headers, parts)
        if connection.is_open:
            self._idle.append(connection)
        return response
