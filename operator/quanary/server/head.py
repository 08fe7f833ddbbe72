"""Heads of requests and of answers, between their bytes and what an ASGI application speaks of. Pure."""

from collections.abc import Iterable
from http import HTTPStatus
from itertools import chain
from typing import Final
from urllib.parse import unquote

from quanary.server.asgi import Scope

ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_STATUS: Final[dict[int, bytes]] = {each: f"HTTP/1.1 {each} {each.phrase}\r\n".encode() for each in HTTPStatus}


def scope_of(method: str, url: bytes, headers: list[tuple[bytes, bytes]], http_version: str) -> Scope:
    """What an ASGI application is told of a request's head."""
    # A proxy may be asked by a whole URL.
    target = url if url.startswith(b"/") else url.partition(b"://")[2].partition(b"/")[2].join((b"/", b""))
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("latin-1")
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": http_version,
        "scheme": "http",
        "method": method,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
    }


def expects_continue(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a client waits to be asked for the body; the expectation's case is of no matter (RFC 9110, 10.1.1)."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def answer_head(status: int, *headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The whole head of an answer."""
    parts = [_STATUS.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
    for name, value in chain(*headers):
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)
