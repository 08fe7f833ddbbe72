import copy
from typing import Any

import pytest

from quanary.controller.children.drift import is_applied, with_hash
from tests.controller.models import FLOAT_ALONE, built, canary

DEPLOYMENT = built(canary(0)).deployments[1]
SERVICE = built(FLOAT_ALONE).services[0]
ROUTE = built(canary(50)).route


def _live(manifest: Any) -> Any:
    live = copy.deepcopy(with_hash(manifest))
    live["metadata"] |= {"uid": "u", "resourceVersion": "5", "generation": 1}
    live["status"] = {"replicas": 1}
    return live


@pytest.mark.parametrize("manifest", [DEPLOYMENT, SERVICE, ROUTE], ids=lambda each: str(each["kind"]))
def test_what_was_applied_is_applied(manifest: Any) -> None:
    assert is_applied(manifest, _live(manifest))


def test_what_the_api_server_fills_in_and_rewrites_is_no_drift() -> None:
    live = _live(DEPLOYMENT)
    server = live["spec"]["template"]["spec"]["containers"][0]
    server["resources"]["limits"]["cpu"] = "1000m"
    server["resources"]["limits"]["memory"] = "0.5Gi"
    live["spec"]["progressDeadlineSeconds"] = 600
    live["spec"]["template"]["spec"]["containers"].append({"name": "mesh-sidecar"})
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    assert is_applied(DEPLOYMENT, live)


def test_a_field_that_somebody_changed_is_drift() -> None:
    live = _live(DEPLOYMENT)
    live["spec"]["replicas"] = 0
    assert not is_applied(DEPLOYMENT, live)


def test_a_field_that_we_no_longer_want_is_drift() -> None:
    live = _live(DEPLOYMENT)
    wanted = copy.deepcopy(DEPLOYMENT)
    del wanted["spec"]["revisionHistoryLimit"]
    assert not is_applied(wanted, live)


def test_a_selector_that_grew_is_drift() -> None:
    live = _live(SERVICE)
    live["spec"]["selector"]["stranger"] = "yes"
    assert not is_applied(SERVICE, live)


def test_a_backend_that_somebody_added_is_drift() -> None:
    assert ROUTE
    live = _live(ROUTE)
    live["spec"]["rules"][1]["backendRefs"].append({"name": "stranger", "weight": 5})
    assert not is_applied(ROUTE, live)


def test_a_lost_owner_is_drift() -> None:
    live = _live(SERVICE)
    del live["metadata"]["ownerReferences"]
    assert not is_applied(SERVICE, live)
