import pytest

from quanary.controller.decision import Need, RouteSupport
from quanary.controller.support import BACKEND_H2C, PATH_REWRITE, keeps_path, needs, refusal, route_word
from tests.controller.models import spec

CRITICAL = Need(PATH_REWRITE, "spec.critical.path", "/critical")
GRPC = Need(BACKEND_H2C, "spec.route.hostnames", "digits.example.com", is_asked=False)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/", True),
        ("/v2", True),
        ("/v2/models", True),
        ("/v2/models/digits", True),
        ("/v2/models/digits/infer", True),
        ("/v2/models/digit", False),
        ("/v2/models/digits2", False),
        ("/v", False),
        ("/digits", False),
    ],
)
def test_a_prefix_is_compared_by_whole_segments(path: str, kept: bool) -> None:
    assert keeps_path(path, "digits") is kept


def test_only_what_goes_beyond_the_core_is_needed() -> None:
    parents = {"parentRefs": [{"name": "public"}]}
    assert needs("digits", spec()) == ()
    assert needs("digits", spec(route={**parents, "path": "/v2"})) == ()
    everything = spec(
        critical={"path": "/critical"}, route={**parents, "path": "/d", "hostnames": ["digits.example.com"]}
    )
    assert needs("digits", everything) == (CRITICAL, Need(PATH_REWRITE, "spec.route.path", "/d"), GRPC)


def test_a_lacking_feature_that_was_asked_for_is_refused_by_field_value_and_class() -> None:
    said = refusal(RouteSupport((CRITICAL, GRPC), ((GRPC, "small"), (CRITICAL, "small"))))
    for word in ("spec.critical.path", "/critical", PATH_REWRITE, "small", "allowed: "):
        assert word in said
    assert refusal(RouteSupport((GRPC,), ((GRPC, "small"),))) == ""
    assert refusal(RouteSupport((CRITICAL,), (), ("nobody knows",))) == ""


def test_the_condition_says_what_is_lacking_unknown_supported_or_not_needed() -> None:
    lacking = route_word(RouteSupport((GRPC,), ((GRPC, "small"),)))
    assert (lacking.status, lacking.reason) == ("False", "MissingFeatures")
    assert lacking.message.startswith("gRPC is left out")
    unknown = route_word(RouteSupport((CRITICAL,), (), ("GatewayClass old declares no features",)))
    assert (unknown.status, unknown.reason) == ("Unknown", "FeaturesUnknown")
    assert "GatewayClass old declares no features" in unknown.message
    assert route_word(RouteSupport((CRITICAL,))).status == "True"
    assert route_word(RouteSupport()).reason == "CoreFeatures"
