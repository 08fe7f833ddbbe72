"""What comes in over one connection, taken apart into requests; of what is not a body there is only so much."""

from collections.abc import Callable
from typing import Final

import httptools

from quanary.server.data_plane import Refused, refusal
from quanary.server.http.head import headers_of, path_of
from quanary.server.http.request import Carrier, HttpRequest

# Also of what a body in chunks holds besides its parts.
HEAD_LIMIT_BYTES: Final = 64 * 2**10
HEADERS_LIMIT: Final = 100


class Incoming:
    """The requests of one connection: `admit` gets each one when its head is complete, and may refuse it."""

    def __init__(self, connection: Carrier, admit: Callable[[HttpRequest], None]) -> None:
        """Nothing has come in."""
        self.request: HttpRequest | None = None  # whose body is read
        self._connection = connection
        self._admit = admit
        self._parser = httptools.HttpRequestParser(self)
        self._units = 0  # heads, parts of bodies and ends that came in
        self._loose_bytes = -1  # that came in after the last of them; -1 between requests
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []  # names in lower case
        self._is_staying = False  # the head that is parsed is a made-up one

    def feed(self, data: bytes) -> bool:
        """Read on; whether that ended within a head.

        Raises:
            Refused: this is no request, or too much of one; nothing can be read after that.
        """
        units = self._units
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self.feed(self._stay(self._headers) + data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            # The parser wraps what its callbacks raise.
            if isinstance(error.__context__, Refused):
                raise error.__context__ from None
            raise Refused(refusal(400, f"this is no HTTP/1.1: {error}")) from None
        if self._loose_bytes < 0:
            return False
        if self._units == units:
            # What came after something else may have begun anywhere in these bytes: it is not counted.
            self._count_loose(len(data))
        return self.request is None

    def _stay(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Go on as before after a request to speak another protocol: nothing else is spoken here.

        The parser takes all after such a head for the other protocol's, the body too. So another one is given a head
        with that body; what was asked is known already.
        """
        self._parser = httptools.HttpRequestParser(self)
        self._is_staying = True
        kept = [b"%s: %s\r\n" % each for each in headers if each[0] in {b"content-length", b"transfer-encoding"}]
        return b"".join((b"POST / HTTP/1.1\r\n", *kept, b"\r\n"))

    def _count_loose(self, received: int) -> None:
        self._loose_bytes += received
        if self._loose_bytes > HEAD_LIMIT_BYTES:
            where = "besides the body's parts" if self.request else "the request's head"
            message = f"{where}: found more than {HEAD_LIMIT_BYTES} bytes; allowed: at most so many"
            raise Refused(refusal(431, message))

    # What the parser calls

    def on_message_begin(self) -> None:
        """A head begins."""
        self._loose_bytes = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after a body in chunks it is nobody's: whoever looked at the head has not seen it."""
        if self.request:
            return
        if len(self._headers) >= HEADERS_LIMIT:
            message = f"the request's head: found more than {HEADERS_LIMIT} headers; allowed: at most so many"
            raise Refused(refusal(431, message))
        # The parser keeps blanks behind a value, which are no part of it (RFC 9110, 5.5).
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._loose_bytes = 0
        self._units += 1
        if self._is_staying:
            self._is_staying = False
            return
        parser = self._parser
        # A client of HTTP/1.0 waits for the end of the connection, unless it is told otherwise.
        is_last = not parser.should_keep_alive() or parser.get_http_version() != "1.1"
        headers = headers_of(self._headers)
        request = HttpRequest(self._connection, parser.get_method(), path_of(self._url), headers, is_last=is_last)
        self._admit(request)
        self.request = request

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._loose_bytes = 0
        self._units += 1
        if self.request:
            self.request.feed(body)

    def on_message_complete(self) -> None:
        """A body is complete."""
        if self.request and not self._parser.should_upgrade():
            self.request.complete()
            self.request = None
            self._loose_bytes = -1
            self._units += 1
