"""Listening for HTTP: connections within limits, and an end without loss."""

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from typing_extensions import override

from quanary.server.asgi import Application
from quanary.server.connection import Connection

# Longer than a gateway keeps an idle connection (Envoy: 1 h), so that it is never this side that ends one in use.
KEEP_ALIVE_SECONDS: Final = 3700


class HttpPort:
    """One HTTP server on the running event loop."""

    def __init__(self, app: Application, host: str, port: int, deadline_seconds: float) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be listened on.
        """
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Inherited by every connection: without it a body waits 40 ms for the client's word that its head came.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(deadline_seconds) + 1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Take no new connection, finish what runs, end."""
        self._server.should_exit = True
        await self._task


class _Server(uvicorn.Server):
    """One of several servers in a process that minds its own signals."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield
