"""The routes: the Open Inference Protocol for users and for the twin, and the metrics."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from quanary.server.asgi import (
    CLOSE,
    Application,
    ClientGone,
    Receive,
    Refused,
    Scope,
    Send,
    json_answer,
    send_answer,
)
from quanary.server.data_plane import Answer, DataPlane, refusal
from quanary.server.descriptions import NO_LOADING, SERVER, config, index, statistics, unknown_model
from quanary.server.metrics import CONTENT_TYPE, Metrics
from quanary.server.traffic import LOADING, Front, Traffic
from quanary.wire.inference import DIGEST_HEADER, IndexRequest

_DIGEST: Final = DIGEST_HEADER.encode()


def create_app(front: Front, traffic: Traffic) -> Application:
    """The Open Inference Protocol for one kind of askers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await _answer(front, traffic, scope, receive)
        except ClientGone:
            return
        await send_answer(send, _finish(front, answer))
        traffic.after(answer)

    return app


def create_metrics_app(metrics: Metrics) -> Application:
    """`/gates` for the controller and `/metrics` for people."""
    pages = {"/gates": metrics.render_gates, "/metrics": metrics.render_all}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        render = pages.get(scope["path"])
        if render is None:
            answer = refusal(404, "unknown path; allowed: /gates, /metrics")
        elif scope["method"] != "GET":
            answer = _wrong_verb("GET")
        else:
            answer = Answer(200, render(), ((b"content-type", CONTENT_TYPE.encode()),))
        await send_answer(send, answer)

    return app


async def _answer(  # noqa: PLR0911 - one a route
    front: Front, traffic: Traffic, scope: Scope, receive: Receive
) -> Answer:
    match scope["path"].rstrip("/").split("/")[1:]:
        case ["v2"]:
            return _page(scope, lambda: _json(SERVER))
        case ["v2", "health", "live"]:
            return _page(scope, lambda: json_answer({"live": True}))
        case ["v2", "health", "ready"]:
            return _page(scope, lambda: _state(front, ready=front.is_ready))
        case ["v2", "models", "stats"] if front.name != "stats":
            return _page(scope, lambda: _json(statistics(front.name, front.statistics)))
        case ["v2", "models", name, "versions", model_version, *rest]:
            return await _answer_model(front, traffic, (name, model_version, *rest), scope, receive)
        case ["v2", "models", name, *rest]:
            return await _answer_model(front, traffic, (name, "", *rest), scope, receive)
        case ["v2", "repository", "index"]:
            return await _index(front, scope, receive)
        case ["v2", "repository", "models", _, "load" | "unload"]:
            return refusal(501, NO_LOADING)
        case _:
            return refusal(404, "unknown path; allowed: those of the Open Inference Protocol v2")


async def _answer_model(  # noqa: PLR0911 - one a route
    front: Front, traffic: Traffic, words: Sequence[str], scope: Scope, receive: Receive
) -> Answer:
    name, model_version, *rest = words
    if unknown := unknown_model(name, model_version, front.name):
        return refusal(404, unknown)
    match rest:
        case ["infer"]:
            return await traffic.infer(scope, receive) if scope["method"] == "POST" else _wrong_verb("POST")
        case ["ready"]:
            return _page(scope, lambda: _state(front, name=front.name, ready=front.is_ready))
        case ["stats"]:
            return _page(scope, lambda: _json(statistics(front.name, front.statistics)))
        case []:
            return _page(scope, lambda: _described(front, DataPlane.metadata))
        case ["config"]:
            return _page(scope, lambda: _described(front, lambda plane: config(plane.name, plane.signature)))
        case _:
            return refusal(404, "unknown path; allowed: infer, ready, config, stats, or nothing after the model")


async def _index(front: Front, scope: Scope, receive: Receive) -> Answer:
    if scope["method"] != "POST":
        return _wrong_verb("POST")
    with front.bodies.hold() as body:
        try:
            content = await body.read(scope, receive)
            only_ready = msgspec.json.decode(content or b"{}", type=IndexRequest).ready
        except Refused as refused:
            return refused.answer
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return refusal(400, f"the body: {error}")
    return _json(index(front.name, is_ready=front.is_ready, is_draining=front.is_draining, only_ready=only_ready))


def _page(scope: Scope, render: Callable[[], Answer]) -> Answer:
    return render() if scope["method"] == "GET" else _wrong_verb("GET")


def _state(front: Front, **words: str | bool) -> Answer:
    return json_answer(words, 200 if front.is_ready else 503)


def _described(front: Front, describe: Callable[[DataPlane], Any]) -> Answer:
    return refusal(503, LOADING) if front.plane is None else _json(describe(front.plane))


def _json(value: Any) -> Answer:
    return Answer(200, msgspec.json.encode(value))


def _wrong_verb(allowed: str) -> Answer:
    # The body of a wrong request is never read, so the connection cannot go on.
    return refusal(405, f"wrong method; allowed: {allowed}").adding((b"allow", allowed.encode()), CLOSE)


def _finish(front: Front, answer: Answer) -> Answer:
    if not any(name == _DIGEST for name, _ in answer.headers):  # float's is there if float gave the answer
        answer = answer.adding((_DIGEST, front.digest.encode()))
    # While draining, clients are sent to other pods one answer at a time instead of losing a connection at the end.
    return answer.adding(CLOSE) if front.is_draining and CLOSE not in answer.headers else answer
