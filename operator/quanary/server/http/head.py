"""Heads of requests and of answers, between their bytes and what an application speaks of."""

import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from quanary.server.data_plane import Headers

_STATUS: Final[dict[int, bytes]] = {each: f"HTTP/1.1 {each} {each.phrase}\r\n".encode() for each in HTTPStatus}


@lru_cache(maxsize=64)  # few ever differ
def path_of(target: bytes) -> str:
    """The path of a request's target, without its query, its escapes resolved."""
    if not target.startswith(b"/"):
        # A proxy may be asked by a whole URL.
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path = target.partition(b"?")[0].decode("latin-1")
    return unquote(path) if "%" in path else path


def headers_of(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name in lower case; the values of one that comes several times are one list (RFC 9110, 5.3)."""
    headers = dict(pairs)
    if len(headers) == len(pairs):
        return headers
    headers.clear()
    for name, value in pairs:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    return headers


def expects_continue(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a client waits to be asked for the body; the expectation's case is of no matter (RFC 9110, 10.1.1)."""
    return headers.get(b"expect", b"").lower() == b"100-continue"


def answer_head(status: int, headers: Headers, length: int) -> bytes:
    """The whole head of an answer whose body has `length` bytes."""
    return b"%b%bcontent-length: %d\r\n\r\n" % (_lines(status, headers), _date(int(time.time())), length)


@lru_cache(maxsize=64)
def _lines(status: int, headers: Headers) -> bytes:
    first = _STATUS.get(status) or f"HTTP/1.1 {status} \r\n".encode()
    return b"".join((first, *(b"%b: %b\r\n" % each for each in headers)))


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}\r\n".encode()
