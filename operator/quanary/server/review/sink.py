"""Bytes to a sink by HTTP, one connection each: nothing of the answer matters but its status.

The sink's address is given by a user. It is looked up, checked and then connected to as found, so that no name leads to
the metadata of a cloud, and none resolves differently the second time.
"""

import asyncio
import ipaddress
import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import certifi

from quanary.artifacts.addresses import is_forbidden
from quanary.wire.report import RefusedError

ATTEMPT_SECONDS: Final = 10.0
_HEAD_LIMIT_BYTES: Final = 64 * 2**10


class Undeliverable(ConnectionError):  # noqa: N818
    """No answer came; it may be another time."""


class Sink:
    """One URL of an HTTP server."""

    def __init__(self, url: str, *, may_be_local: bool) -> None:
        """Post to `url`, http or https; at an address of this machine only if `may_be_local`.

        Raises:
            RefusedError: `url` names an address that nobody may send to.
        """
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        if _is_address(self._host) and is_forbidden(self._host, may_be_local=may_be_local):
            raise RefusedError("spec.escalation.sink", url, "no loopback, link-local or metadata address")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._may_be_local = may_be_local
        self._tls = _tls() if parts.scheme == "https" else None

    async def post(self, content: bytes, content_type: str) -> int:
        """The status of the answer.

        Raises:
            Undeliverable: the name leads nowhere, nobody answers in time, or what comes is no HTTP.
        """
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._post(content, content_type)
        except TimeoutError:
            message = f"no answer within {ATTEMPT_SECONDS:g} s"
            raise Undeliverable(message) from None
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Undeliverable(str(error) or type(error).__name__) from error

    async def _post(self, content: bytes, content_type: str) -> int:
        head = (
            f"POST {self._target} HTTP/1.1\r\nhost: {self._netloc}\r\nuser-agent: quanary\r\n"
            f"content-type: {content_type}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        reader, writer = await self._connect()
        try:
            writer.write(head.encode("ascii") + content)
            await writer.drain()
            return await _read_status(reader)
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self._host if self._tls else None
        failure: OSError | None = None
        for address in await self._addresses():
            try:
                return await asyncio.open_connection(
                    address, self._port, limit=_HEAD_LIMIT_BYTES, ssl=self._tls, server_hostname=name
                )
            except OSError as error:
                failure = error
        raise failure or OSError(f"{self._host} has no address")

    async def _addresses(self) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        for each in addresses:
            if is_forbidden(each, may_be_local=self._may_be_local):
                message = f"{self._host} is at {each}, a loopback, link-local or metadata address"
                raise Undeliverable(message)
        return addresses


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _read_status(reader: asyncio.StreamReader) -> int:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        version, status = head.split(b" ", 2)[:2]
        if not version.startswith(b"HTTP/1.") or not status.rstrip().isdigit():
            message = f"found {head[:60]!r}; allowed: an answer of HTTP/1.1"
            raise ValueError(message)
        if not 100 <= int(status) < 200:  # those before are not the last
            return int(status)


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
