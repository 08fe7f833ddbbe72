"""Critical requests: marked by a header, or by a path that a gateway has not rewritten."""

from collections.abc import Awaitable

from quanary.server.data_plane import Answer
from quanary.server.http.application import Application
from quanary.server.http.request import HttpRequest


class MarkedByPath:
    """An application to which a path under a prefix is the path behind it, with a header that marks the request.

    A gateway's route does the same; whoever comes without one must find the same protection.
    """

    def __init__(self, app: Application, prefix: str, mark: tuple[bytes, bytes]) -> None:
        """Mark by the header `mark` what comes under `prefix`."""
        self._app = app
        self._prefix = prefix
        self._mark = mark

    def answer(self, request: HttpRequest) -> Awaitable[Answer]:
        """What the application says to it."""
        if request.path.startswith(f"{self._prefix}/"):
            request.path = request.path.removeprefix(self._prefix)
            request.headers[self._mark[0]] = self._mark[1]
        return self._app.answer(request)

    def after(self, answer: Answer) -> None:
        """What the application does then."""
        self._app.after(answer)
