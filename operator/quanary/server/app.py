"""The routes: the Open Inference Protocol for users and for the twin, and the metrics."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from quanary.server.data_plane import CLOSE, Answer, DataPlane, Refused, json_answer, refusal
from quanary.server.descriptions import NO_LOADING, SERVER, config, index, statistics, unknown_model
from quanary.server.http.request import HttpRequest
from quanary.server.metrics import CONTENT_TYPE, Metrics
from quanary.server.soon import follow
from quanary.server.traffic import LOADING, Front, Traffic
from quanary.wire.inference import DIGEST_HEADER, IndexRequest

_DIGEST: Final = DIGEST_HEADER.encode()


class ProtocolApp:
    """The Open Inference Protocol for one kind of askers."""

    def __init__(self, front: Front, traffic: Traffic) -> None:
        """Answer for the front's model."""
        self._front = front
        self._traffic = traffic
        self._infer_path = f"/v2/models/{front.name}/infer"
        self._digest = (_DIGEST, front.digest.encode())

    def answer(self, request: HttpRequest) -> Awaitable[Answer]:
        """What the protocol says to it."""
        # Nearly all go there.
        is_infer = request.path == self._infer_path and request.method == b"POST"
        answer = self._traffic.infer(request) if is_infer else self._route(request)
        return follow(answer, self._finished)

    def after(self, answer: Answer) -> None:
        """Show it to those who watch."""
        self._traffic.after(answer)

    def _finished(self, answer: Answer) -> Answer:
        headers = answer.headers
        for name, _ in headers:
            if name == _DIGEST:  # float's, if float gave the answer
                break
        else:
            headers = (*headers, self._digest)
        # While draining, clients are sent to other pods one answer at a time instead of losing a connection at the end.
        if self._front.is_draining and CLOSE not in headers:
            headers = (*headers, CLOSE)
        return Answer(answer.status, answer.body, headers, answer.inference)

    def _route(self, request: HttpRequest) -> Awaitable[Answer]:  # noqa: PLR0911 - one a route
        front = self._front
        match request.path.rstrip("/").split("/")[1:]:
            case ["v2"]:
                return _page(request, lambda: json_answer(SERVER))
            case ["v2", "health", "live"]:
                return _page(request, lambda: json_answer({"live": True}))
            case ["v2", "health", "ready"]:
                return _page(request, lambda: _state(front, ready=front.is_ready))
            case ["v2", "models", "stats"] if front.name != "stats":
                return _page(request, lambda: json_answer(statistics(front.name, front.statistics)))
            case ["v2", "models", name, "versions", model_version, *rest]:
                return self._route_model((name, model_version, *rest), request)
            case ["v2", "models", name, *rest]:
                return self._route_model((name, "", *rest), request)
            case ["v2", "repository", "index"]:
                return _index(front, request) if request.method == b"POST" else _wrong_verb("POST")
            case ["v2", "repository", "models", _, "load" | "unload"]:
                return refusal(501, NO_LOADING)
            case _:
                return refusal(404, "unknown path; allowed: those of the Open Inference Protocol v2")

    def _route_model(  # noqa: PLR0911 - one a route
        self, words: Sequence[str], request: HttpRequest
    ) -> Awaitable[Answer]:
        front = self._front
        name, model_version, *rest = words
        if unknown := unknown_model(name, model_version, front.name):
            return refusal(404, unknown)
        match rest:
            case ["infer"]:
                return self._traffic.infer(request) if request.method == b"POST" else _wrong_verb("POST")
            case ["ready"]:
                return _page(request, lambda: _state(front, name=front.name, ready=front.is_ready))
            case ["stats"]:
                return _page(request, lambda: json_answer(statistics(front.name, front.statistics)))
            case []:
                return _page(request, lambda: _described(front, DataPlane.metadata))
            case ["config"]:
                return _page(request, lambda: _described(front, lambda plane: config(plane.name, plane.signature)))
            case _:
                return refusal(404, "unknown path; allowed: infer, ready, config, stats, or nothing after the model")


class MetricsApp:
    """`/gates` for the controller and `/metrics` for people."""

    def __init__(self, metrics: Metrics) -> None:
        """Show these."""
        self._pages = {"/gates": metrics.render_gates, "/metrics": metrics.render_all}

    def answer(self, request: HttpRequest) -> Awaitable[Answer]:
        """A page."""
        render = self._pages.get(request.path)
        if render is None:
            return refusal(404, "unknown path; allowed: /gates, /metrics")
        return _page(request, lambda: Answer(200, render(), ((b"content-type", CONTENT_TYPE.encode()),)))

    def after(self, answer: Answer) -> None:
        """Nothing."""


async def _index(front: Front, request: HttpRequest) -> Answer:
    with front.bodies.hold() as body:
        try:
            content = await body.read(request)
            only_ready = msgspec.json.decode(content or b"{}", type=IndexRequest).ready
        except Refused as refused:
            return refused.answer
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return refusal(400, f"the body: {error}")
    return json_answer(index(front.name, is_ready=front.is_ready, is_draining=front.is_draining, only_ready=only_ready))


def _page(request: HttpRequest, render: Callable[[], Answer]) -> Answer:
    return render() if request.method == b"GET" else _wrong_verb("GET")


def _state(front: Front, **words: str | bool) -> Answer:
    return json_answer(words, 200 if front.is_ready else 503)


def _described(front: Front, describe: Callable[[DataPlane], Any]) -> Answer:
    return refusal(503, LOADING) if front.plane is None else json_answer(describe(front.plane))


def _wrong_verb(allowed: str) -> Answer:
    # The body of a wrong request is never read, so the connection cannot go on.
    return refusal(405, f"wrong method; allowed: {allowed}").adding((b"allow", allowed.encode()), CLOSE)
