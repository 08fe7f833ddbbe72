"""What a server is known to do otherwise, by the name of the check. Each must be there, or the suite fails."""

from typing import Final

_NO_HEALTH_BODY: Final = "health answers have no body"
_NO_SLASH: Final = "404: paths must not end in a slash"
_OWN_ORDER: Final = "outputs come in the model's order, whatever order was asked for"
_BROKEN_JSON: Final = "500 for what its JSON reader refuses"
_MISTAKES: Final = "test_mistakes_get_their_status"

DIFFERENCES: Final[dict[str, dict[str, str]]] = {
    # 2.51 with models in its Python backend.
    "triton": {
        "test_health_says_so_in_json": _NO_HEALTH_BODY,
        "test_rest_health[live]": f"{_NO_HEALTH_BODY}, which KServe's client reads as JSON",
        "test_rest_health[ready]": f"{_NO_HEALTH_BODY}, which KServe's client reads as JSON",
        "test_paths_with_a_slash_at_the_end_are_the_same[/v2/]": _NO_SLASH,
        "test_paths_with_a_slash_at_the_end_are_the_same[/v2/models/M/]": _NO_SLASH,
        "test_paths_with_a_slash_at_the_end_are_the_same[/v2/health/ready/]": _NO_SLASH,
        "test_wrong_paths_and_verbs[GET-/v2/models/nobody/ready-404]": "400",
        "test_an_unknown_encoding": "501",
        "test_a_body_too_large": "500",
        "test_outputs_come_as_asked[http]": _OWN_ORDER,
        "test_outputs_come_as_asked[http.aio]": _OWN_ORDER,
        "test_outputs_come_as_asked[grpc]": _OWN_ORDER,
        "test_outputs_come_as_asked[grpc.aio]": _OWN_ORDER,
        f"{_MISTAKES}[no JSON]": _BROKEN_JSON,
        f"{_MISTAKES}[no object]": _BROKEN_JSON,
        f"{_MISTAKES}[no inputs]": _BROKEN_JSON,
        f"{_MISTAKES}[an empty body]": "200: an empty body is a bare tensor of no rows",
        f"{_MISTAKES}[element count]": _BROKEN_JSON,
        f"{_MISTAKES}[negative dimension]": _BROKEN_JSON,
        f"{_MISTAKES}[text for numbers]": _BROKEN_JSON,
        f"{_MISTAKES}[no shape]": _BROKEN_JSON,
    },
}
# What a server does not survive, so that no later check would mean anything.
FATAL: Final[dict[str, dict[str, str]]] = {
    "triton": {f"{_MISTAKES}[huge shape]": "the process of the Python backend dies and stays dead"},
}
