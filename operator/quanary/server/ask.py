"""A question to the twin over one kept-alive connection.

HTTP/1.1 by hand: a client library costs several times the CPU of the answer itself, and the only server ever asked is
this program, which sends a Content-Length with every answer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

CONNECT_SECONDS: Final = 1.0
ANSWER_LIMIT_BYTES: Final = 64 * 2**20


class NoTwin(ConnectionError):  # noqa: N818
    """Nobody listens there now."""


class Broken(ConnectionError):  # noqa: N818
    """The connection ended, or what came over it is no answer."""


@dataclass(frozen=True)
class TwinAnswer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TwinConnection:
    """At most one connection, opened by the first question."""

    def __init__(self, url: str) -> None:
        """Speak to `http://HOST:PORT`."""
        parts = urlsplit(url)
        self._host, self._port, self._netloc = parts.hostname or "", parts.port or 80, parts.netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> TwinAnswer:
        """Ask, and wait for the answer.

        Raises:
            NoTwin: the connection was refused, or nobody took it in time.
            Broken: it ended before the answer was complete.
        """
        reader, writer = await self._connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: {self._netloc}\r\ncontent-length: {len(content)}\r\n{lines}\r\n"
        is_kept = False
        try:
            writer.writelines((head.encode(), content))
            await writer.drain()
            answer = await _read(reader)
            is_kept = answer.headers.get("connection", "").lower() != "close"
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Broken(str(error)) from error
        finally:
            # Also when the asker gave up: a late answer must not be taken for the next one.
            if not is_kept:
                self.close()
        return answer

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    self._streams = await asyncio.open_connection(self._host, self._port)
            except OSError as error:  # TimeoutError is one of them
                raise NoTwin(str(error)) from error
        return self._streams


async def _read(reader: asyncio.StreamReader) -> TwinAnswer:
    start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "-1"))
    if not 0 <= length <= ANSWER_LIMIT_BYTES:
        message = f"content-length: found {length}; allowed: 0 to {ANSWER_LIMIT_BYTES}"
        raise ValueError(message)
    return TwinAnswer(int(start.split(" ")[1]), headers, await reader.readexactly(length))
