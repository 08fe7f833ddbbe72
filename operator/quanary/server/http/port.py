"""Listening for HTTP: connections within limits, and an end without loss."""

import asyncio
import contextlib
import socket
from typing import Final

from quanary.server.http.application import Application
from quanary.server.http.connection import Connection

# Longer than a gateway keeps an idle connection (Envoy: 1 h), so that it is never this side that ends one in use.
KEEP_ALIVE_SECONDS: Final = 3700
BACKLOG: Final = 2048
GRACE_SECONDS: Final = 1.0


class HttpPort:
    """One HTTP server on the running event loop."""

    def __init__(self, app: Application, host: str, port: int, deadline_seconds: float) -> None:
        """Listen, answering nobody yet. At the end whoever is being answered has `deadline_seconds` left.

        Raises:
            OSError: the port cannot be listened on.
        """
        self.app = app
        self.keep_alive_seconds: float = KEEP_ALIVE_SECONDS
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # Inherited by every connection: without it a body waits 40 ms for the client's word that its head came.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._patience_seconds = deadline_seconds + GRACE_SECONDS
        self._server: asyncio.Server | None = None
        self._ended = asyncio.Event()
        self._is_stopping = False

    async def start(self) -> None:
        """Answer."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self, loop), sock=self._listener, backlog=BACKLOG)

    async def stop(self) -> None:
        """Take no new connection, finish what runs, end."""
        self._is_stopping = True
        if self._server:
            self._server.close()
        self._listener.close()
        for each in list(self.connections):
            each.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_seconds):
                while self.connections:
                    self._ended.clear()
                    await self._ended.wait()
                if self.tasks:
                    await asyncio.wait(self.tasks)
        for connection in list(self.connections):
            connection.abort()
        for task in list(self.tasks):
            task.cancel()

    def enter(self, connection: Connection) -> None:
        """It has begun."""
        self.connections.add(connection)
        if self._is_stopping:
            connection.shutdown()

    def leave(self, connection: Connection) -> None:
        """It has ended."""
        self.connections.discard(connection)
        self._ended.set()
