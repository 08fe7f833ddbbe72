"""Listening for gRPC: limits, health and an end without loss."""

from typing import Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from quanary.server.bodies import BODY_LIMIT_BYTES
from quanary.server.rpc.health import health_handler
from quanary.server.rpc.reading import Reading
from quanary.server.rpc.service import SERVICE, Service
from quanary.server.traffic import Front, UserTraffic

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", BODY_LIMIT_BYTES),
    ("grpc.max_send_message_length", -1),
    # Compressed messages are refused: their limit would count what comes in, not what they become.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.max_concurrent_streams", 128),
    # Else a client may send some MiB of every message ahead, before its turn to be read.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_allowed_incoming_connections", 2000),
    ("grpc.absolute_max_metadata_size", 64 * 2**10),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Clients may ask every 10 s whether a connection lives; it is asked back once a minute.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Two processes on one port would share its requests without anybody noticing.
    ("grpc.so_reuseport", 0),
)
_SERVICES: Final = ("", SERVICE)


class RpcPort:
    """One gRPC server on the running event loop."""

    def __init__(self, front: Front, users: UserTraffic, host: str, port: int) -> None:
        """Listen, not ready yet.

        Raises:
            OSError: the port cannot be listened on.
        """
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.HealthServicer()
        reading = Reading()
        handlers = (Service(front, users, reading), health_handler(self._health, reading))
        self._server.add_generic_rpc_handlers(handlers)
        try:
            self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from None

    async def start(self) -> None:
        """Answer."""
        for each in _SERVICES:
            await self._health.set(each, health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()

    async def be_ready(self) -> None:
        """Say that new requests should come here."""
        for each in _SERVICES:
            await self._health.set(each, health_pb2.HealthCheckResponse.SERVING)

    async def say_draining(self) -> None:
        """Say that new requests should go elsewhere; those that come are answered."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new connection, finish what runs, end."""
        await self._server.stop(grace_seconds)
