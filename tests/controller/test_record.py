"""What is written, when, and what an Event says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quanary.api.v1alpha1 import Progress, QuantizedModelStatus, SealOpening, Stage, Verdict
from quanary.controller.cache import Cache
from quanary.controller.cluster import ClusterError
from quanary.controller.decide import decide
from quanary.controller.decision import Need, Observation, RouteSeen, RouteSupport
from quanary.controller.metrics import Metrics
from quanary.controller.record import event_manifest, record, status_of
from quanary.controller.settings import Settings
from quanary.controller.world import World
from tests.controller.scenes import (
    FLOAT,
    INT8,
    NOW,
    SAFER,
    SAFEST,
    artifact,
    backend,
    canary,
    drifting,
    evidence,
    front,
    seen,
    status,
)

PROMOTED = status(stable=artifact())
SPLIT = RouteSeen({FLOAT[:10]: 500, INT8[:10]: 500}, accepted=True)


class Recorder:
    """The two calls that `record` makes."""

    def __init__(self, failing: str = "") -> None:
        self.statuses: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.failing = failing

    async def apply_status(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.failing == "status":
            raise ClusterError(500, "no")
        self.statuses.append(body["status"])
        return {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}

    async def create_event(self, body: dict[str, Any]) -> None:
        if self.failing == "event":
            raise ClusterError(403, "no")
        self.events.append(body)


def world(cluster: Recorder) -> World:
    return World(cluster, Cache(), None, Settings(), lambda: datetime.now(UTC), Metrics())  # type: ignore[arg-type]


def written(at: Observation) -> QuantizedModelStatus:
    """The status that a first write leaves behind."""
    return status_of(at, decide(at))


def test_the_wire_form_reads_back_as_the_same_status() -> None:
    first = written(seen(memory=canary(50), route=SPLIT))
    wire = first.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert QuantizedModelStatus.model_validate(wire) == first


def test_a_status_says_what_users_get() -> None:
    mid = written(seen(memory=canary(50), route=SPLIT, evidence=evidence(p99_seconds=0.0123)))
    assert (mid.serving, mid.weight, mid.mismatch, mid.p99) == ("both", "50%", "0.01%", "12.3ms")
    assert {(each.variant, each.desired, each.observed) for each in mid.weights if each.observed} == {
        ("float", 0, 500),
        ("int8", 1000, 500),
    }


@pytest.mark.parametrize(("seconds", "shown"), [(0.0123, "12.3ms"), (0.9996, "1s"), (3.84, "3.84s"), (None, "")])
def test_p99_is_shown_as_people_say_it(seconds: float | None, shown: str) -> None:
    assert written(seen(memory=canary(50), evidence=evidence(p99_seconds=seconds))).p99 == shown


async def test_the_first_status_speaks_of_the_generation_and_is_reconciling() -> None:
    cluster, at = Recorder(), seen(memory=QuantizedModelStatus(), backends={}, route=None, evidence=None, generation=7)
    await record(world(cluster), at, decide(at))
    [first] = cluster.statuses
    assert first["observedGeneration"] == 7
    states = {each["type"]: each["status"] for each in first["conditions"]}
    assert states == {
        "Ready": "False",
        "Quantized": "False",
        "Proven": "False",
        "RolledBack": "False",
        "RouteSupported": "True",
        "Reconciling": "True",
    }
    assert cluster.events[0]["reason"] == "Pending"


async def test_nothing_is_written_when_nothing_changed_but_figures() -> None:
    at = seen(memory=PROMOTED, route=RouteSeen({INT8[:10]: 1000}, accepted=True))
    settled = written(replace(at, memory=written(at)))
    cluster = Recorder()
    later = replace(
        at, memory=settled, now=NOW + timedelta(minutes=59), evidence=evidence(compared_distinct=5, checkpoint="x")
    )
    await record(world(cluster), later, decide(later))
    assert cluster.statuses == []
    hourly = replace(later, now=NOW + timedelta(minutes=60))
    await record(world(cluster), hourly, decide(hourly))
    assert [each["checkpoint"] for each in cluster.statuses] == ["x"]
    assert cluster.events == []


async def test_figures_are_written_every_five_seconds_while_people_watch() -> None:
    at = seen(memory=status(candidate=artifact()), evidence=evidence(proven=False))
    settled = written(replace(at, memory=written(at)))
    cluster = Recorder()
    for seconds in (4, 5):
        later = replace(
            at,
            memory=settled,
            now=NOW + timedelta(seconds=seconds),
            evidence=evidence(proven=False, compared_distinct=9),
        )
        await record(world(cluster), later, decide(later))
        assert len(cluster.statuses) == (seconds == 5)


async def test_a_rollout_that_stands_still_is_written_once_a_minute() -> None:
    begun = seen(memory=status(candidate=artifact()), evidence=evidence(proven=False))
    still = replace(begun, now=NOW + timedelta(minutes=20))
    settled = written(replace(still, memory=written(begun)))
    cluster = Recorder()
    for seconds in (59, 60):
        now = still.now + timedelta(seconds=seconds)
        later = replace(still, memory=settled, now=now, evidence=evidence(proven=False, compared_distinct=9))
        await record(world(cluster), later, decide(later))
        assert len(cluster.statuses) == (seconds == 60)


async def test_another_reason_to_stall_is_written_at_once() -> None:
    at = seen(spec=None, spec_error="spec.model.uri: found a")
    settled = written(replace(at, memory=written(at)))
    cluster = Recorder()
    later = replace(at, memory=settled, spec_error="spec.runtime.image: found b")
    await record(world(cluster), later, decide(later))
    assert [each["because"] for each in cluster.statuses] == ["spec.runtime.image: found b"]


def test_a_transition_time_moves_only_with_its_state() -> None:
    before = written(seen(memory=canary(50), route=SPLIT))
    later = seen(memory=before, route=SPLIT, now=NOW + timedelta(hours=1), evidence=evidence(condemned_by="errors"))
    after = {each.type: each for each in written(later).conditions}
    assert after["Ready"].last_transition_time == NOW
    assert (after["RolledBack"].status, after["RolledBack"].last_transition_time) == ("True", later.now)
    assert after["Stalled"].status == "True"
    assert "Reconciling" not in after


def test_history_keeps_the_last_ten_and_every_step() -> None:
    at = seen(memory=status(source=None), backends={}, route=None, evidence=None)
    stages = []
    for number in range(12):
        memory = written(replace(at, now=NOW + timedelta(seconds=number)))
        at = replace(
            at,
            memory=memory,
            backends={} if number % 2 else {FLOAT: backend(FLOAT)},
        )
        stages.append(memory.stage)
    assert len(at.memory.history) <= 10
    stepped = written(seen(memory=canary(5), route=SPLIT))
    again = written(seen(memory=stepped.model_copy(update={"progress": Progress(step=5, since=NOW)}), route=SPLIT))
    assert stepped.history[-1].because.startswith("INT8 at 50 %")
    assert again.history == stepped.history


async def test_an_event_that_cannot_be_posted_holds_nothing_up() -> None:
    cluster, at = Recorder(failing="event"), seen(memory=QuantizedModelStatus(), backends={}, route=None)
    await record(world(cluster), at, decide(at))
    assert len(cluster.statuses) == 1


async def test_a_status_that_cannot_be_written_is_an_error() -> None:
    cluster, at = Recorder(failing="status"), seen(memory=QuantizedModelStatus(), backends={}, route=None)
    with pytest.raises(ClusterError):
        await record(world(cluster), at, decide(at))
    assert cluster.events == []


def test_control_characters_never_reach_an_event() -> None:
    at = seen(spec=None, spec_error="spec.model: found \x1b[31m\nx")
    manifest = event_manifest(at, decide(at))
    assert manifest["note"].isprintable()
    assert manifest["type"] == "Warning"
    assert decide(at).stage is Stage.STALLED


def test_front_and_seal_stand_in_the_status() -> None:
    opening = SealOpening(data="d" * 64, number=1, artifacts=(INT8,))
    known = written(seen(memory=status(candidate=artifact(), front=front(SAFEST, SAFER)), openings=(opening,)))
    assert [each.digest for each in known.front] == [SAFEST, SAFER]
    assert known.seal == (opening,)
    wire = known.model_dump(by_alias=True, mode="json", exclude_none=True)
    assert QuantizedModelStatus.model_validate(wire).seal == known.seal


async def test_what_a_gateway_lacks_is_a_condition_of_its_own_reason() -> None:
    need = Need("HTTPRouteBackendProtocolH2C", "spec.route.hostnames", "m.example.com", is_asked=False)
    cluster, at = Recorder(), seen(support=RouteSupport((need,), ((need, "small"),)))
    await record(world(cluster), at, decide(at))
    found = {each["type"]: each for each in cluster.statuses[0]["conditions"]}
    assert (found["RouteSupported"]["status"], found["RouteSupported"]["reason"]) == ("False", "MissingFeatures")
    assert "GatewayClass small" in found["RouteSupported"]["message"]
    assert found["Ready"]["status"] == "True"


async def test_an_invalid_spec_leaves_open_what_its_route_would_need() -> None:
    cluster, at = Recorder(), seen(spec=None, spec_error="spec.model: missing")
    await record(world(cluster), at, decide(at))
    found = {each["type"]: each["status"] for each in cluster.statuses[0]["conditions"]}
    assert found["RouteSupported"] == "Unknown"


def test_a_certificate_that_lapsed_is_a_condition_while_its_artifact_serves_on() -> None:
    at = seen(memory=status(stable=artifact(verdict=Verdict.NOT_CERTIFIABLE, because="0.02 at most, with 90 samples")))
    (quantized,) = (each for each in status_of(at, decide(at)).conditions if each.type == "Quantized")
    assert (quantized.status, quantized.reason) == ("False", "CertificateLapsed")
    assert "with 90 samples" in quantized.message
    assert decide(at).target.shares == decide(seen(memory=PROMOTED)).target.shares


async def test_a_promoted_artifact_whose_inputs_drift_is_told_once_and_not_with_every_sample() -> None:
    cluster = Recorder()
    at = seen(memory=PROMOTED, evidence=drifting())
    await record(world(cluster), at, decide(at))
    [written] = cluster.statuses
    assert {each["reason"] for each in written["conditions"] if each["type"] == "Ready"} == {"InputDrift"}
    [gate] = [each for each in written["gates"] if each["holds"]]
    assert (gate["name"], gate["samples"], gate["budget"]) == ("input-range", 9000, 0.025)
    assert gate["rate"] == pytest.approx(300 / 9000, abs=1e-6)
    known = QuantizedModelStatus.model_validate(written)
    counted = drifting()
    *others, holding = counted.gates
    later = replace(counted, gates=(*others, replace(holding, samples=9100, bad=330)))
    again = replace(at, memory=known, evidence=later, now=NOW + timedelta(seconds=60))
    await record(world(cluster), again, decide(again))
    assert len(cluster.statuses) == 1
