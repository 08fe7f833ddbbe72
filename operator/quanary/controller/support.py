"""What a route needs beyond the core of the Gateway API, and what its GatewayClasses declare. Pure."""

from typing import Final

from quanary.api.conditions import RouteWord
from quanary.api.v1alpha1 import QuantizedModelSpec
from quanary.controller.decision import Need, RouteSupport

# As GatewayClass.status.supportedFeatures spells them.
PATH_REWRITE: Final = "HTTPRoutePathRewrite"
BACKEND_H2C: Final = "HTTPRouteBackendProtocolH2C"


def own_path(name: str) -> str:
    """Where the servers of a model answer."""
    return f"/v2/models/{name}"


def keeps_path(path: str, name: str) -> bool:
    """Whether requests under the prefix `path` reach the model as they are: it leads to its own path, or lies in it."""
    asked, own = path.rstrip("/") + "/", own_path(name) + "/"
    return own.startswith(asked) or asked.startswith(own)


def needs(name: str, spec: QuantizedModelSpec) -> tuple[Need, ...]:
    """Extended features that the route of this spec is written with."""
    found = []
    if spec.critical.path:
        found.append(Need(PATH_REWRITE, "spec.critical.path", spec.critical.path))
    if spec.route.path and not keeps_path(spec.route.path, name):
        found.append(Need(PATH_REWRITE, "spec.route.path", spec.route.path))
    if spec.route.hostnames:
        # It comes with a host name, and nobody said that it is used.
        found.append(Need(BACKEND_H2C, "spec.route.hostnames", ", ".join(spec.route.hostnames), is_asked=False))
    return tuple(found)


def refusal(support: RouteSupport) -> str:
    """The first field that a Gateway cannot do and that must not be left out unseen; empty if there is none."""
    for need, gateway_class in support.lacking:
        if need.is_asked:
            return (
                f"{need.field}: found {need.value}, which needs {need.feature}; GatewayClass {gateway_class} does not "
                f"declare it; allowed: Gateways whose classes do, or no {need.field.removeprefix('spec.')}"
            )
    return ""


def route_word(support: RouteSupport) -> RouteWord:
    """The condition RouteSupported."""
    if support.lacking:
        return RouteWord("False", "MissingFeatures", "; ".join(_loss(*each) for each in support.lacking))
    wanted = ", ".join(f"{need.feature} ({need.field})" for need in support.needs)
    if not wanted:
        return RouteWord("True", "CoreFeatures", "core features of the Gateway API are enough")
    if support.silent:
        return RouteWord("Unknown", "FeaturesUnknown", f"{wanted}: assumed, since {'; '.join(support.silent)}")
    return RouteWord("True", "Supported", f"{wanted}: declared by every GatewayClass")


def _loss(need: Need, gateway_class: str) -> str:
    left_out = need.field if need.is_asked else "gRPC"
    return f"{left_out} is left out: {need.field} needs {need.feature}, which GatewayClass {gateway_class} lacks"
