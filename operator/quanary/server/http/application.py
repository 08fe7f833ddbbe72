"""What answers the requests of a port."""

from collections.abc import Awaitable
from typing import Protocol

from quanary.server.data_plane import Answer
from quanary.server.http.request import HttpRequest


class Application(Protocol):
    """Whatever answers requests, each by itself."""

    def answer(self, request: HttpRequest) -> Awaitable[Answer]:
        """An answer, at once or when awaited. Whatever it raises ends the connection without one.

        Raises:
            ClientGone: nobody is there to be answered.
        """
        ...

    def after(self, answer: Answer) -> None:
        """What follows once the answer has left."""
        ...
