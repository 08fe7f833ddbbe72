from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quanary.api import names
from quanary.api.v1alpha1 import Condemned, QuantizedModelStatus
from quanary.controller.apply import DRAIN, NameTaken, apply, look_up, roll_back_route
from quanary.controller.cache import Body, Cache
from quanary.controller.children.route import backend_weights, digest_weights
from quanary.controller.cluster import ClusterError, Conflict
from quanary.controller.decision import Observation, RouteSeen, Target
from tests.controller.fake_cluster import EPOCH, FakeCluster
from tests.controller.models import FLOAT_ALONE, INT8, INT8_RUNNING, KEY, UID, built, canary, spec

FLOAT_NAME, INT8_NAME = "digits-float-ffffffffff", "digits-int8-aaaaaaaaaa"
CONDEMNED = f"{INT8}=mismatch"


class Scene:
    """A fake API server, a cache that follows it, and a clock."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.cluster = FakeCluster(lambda: self.now)
        self.cache = Cache()
        self.memory = QuantizedModelStatus()

    def seen(self) -> Observation:
        route = self.cache.get("HTTPRoute", KEY.namespace, KEY.name)
        return Observation(
            now=self.now,
            key=KEY,
            uid=UID,
            generation=1,
            spec=spec(),
            spec_error="",
            memory=self.memory,
            inputs="",
            backends={},
            job=None,
            route=RouteSeen(digest_weights(route), accepted=True) if route else None,
            evidence=None,
        )

    async def apply(self, target: Target, *, condemned: str = "", seen: Observation | None = None) -> timedelta | None:
        self.cluster.writes.clear()
        manifests = built(target)
        if condemned and manifests.route:
            await roll_back_route(self.cluster, self.cache, manifests.route, condemned)
        await look_up(self.cluster, self.cache, UID, manifests)
        return await apply(self.cluster, self.cache, seen or self.seen(), manifests, target, condemned)

    def accept_route(self) -> None:
        """What a gateway does."""
        route = self.route()
        generation = route["metadata"]["generation"]
        conditions = [
            {"type": each, "status": "True", "observedGeneration": generation} for each in ("Accepted", "ResolvedRefs")
        ]
        status = {"parents": [{"conditions": conditions}]}
        kept = {**route["metadata"], "generation": generation}
        self.cache.put(self.cluster.put({**route, "metadata": kept, "status": status}))

    def route(self) -> Body:
        return self.cluster.objects["HTTPRoute", KEY.namespace, KEY.name]

    def change(self, kind: str, name: str, change: Callable[[Body], None], *, is_seen: bool = True) -> None:
        """What somebody else does."""
        body = self.cluster.objects[kind, KEY.namespace, name]
        change(body)
        stored = self.cluster.put(body)
        if is_seen:
            self.cache.put(stored)

    def names_of(self, kind: str) -> set[str]:
        return {name for each, _, name in self.cluster.objects if each == kind}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def _kinds(writes: list[tuple[str, str, str]]) -> list[str]:
    return [f"{verb} {kind}" for verb, kind, _ in writes]


async def test_what_should_exist_exists_and_the_route_comes_last(scene: Scene) -> None:
    await scene.apply(canary(0, quantize=True))
    assert scene.names_of("Deployment") == {FLOAT_NAME, INT8_NAME}
    assert scene.names_of("Service") == {FLOAT_NAME, INT8_NAME, "digits-float", "digits-twin"}
    assert len(scene.names_of("Job")) == 1
    assert scene.cluster.writes[-1] == ("apply", "HTTPRoute", "digits")


async def test_a_second_apply_writes_nothing(scene: Scene) -> None:
    await scene.apply(canary(50))
    await scene.apply(canary(50))
    assert scene.cluster.writes == []
    scene.cluster.reads.clear()
    await scene.apply(canary(50))
    assert scene.cluster.reads == []


async def test_drift_is_written_back(scene: Scene) -> None:
    await scene.apply(canary(50))
    scene.change("Deployment", INT8_NAME, lambda body: body["spec"].update(replicas=0))
    await scene.apply(canary(50))
    assert scene.cluster.writes == [("apply", "Deployment", INT8_NAME)]


async def test_a_name_held_by_a_stranger_stops_everything_before_the_first_write(scene: Scene) -> None:
    scene.cluster.put({"kind": "Service", "metadata": {"namespace": KEY.namespace, "name": "digits-twin"}, "spec": {}})
    with pytest.raises(NameTaken, match="Service digits-twin exists and is controlled by nobody"):
        await scene.apply(canary(0))
    assert scene.cluster.writes == []


async def test_a_dying_predecessor_holds_the_name_too(scene: Scene) -> None:
    old = built(FLOAT_ALONE, uid="an-older-uid").deployments[0]
    scene.cache.put(scene.cluster.put(old))
    with pytest.raises(NameTaken, match="an-older-uid") as caught:
        await scene.apply(FLOAT_ALONE)
    assert caught.value.name == f"Deployment {FLOAT_NAME}"


async def test_a_falling_weight_goes_first(scene: Scene) -> None:
    await scene.apply(canary(250))
    scene.change("Deployment", FLOAT_NAME, lambda body: body["spec"].update(replicas=0))
    await scene.apply(canary(50))
    assert _kinds(scene.cluster.writes) == ["apply HTTPRoute", "apply Deployment"]


async def test_a_rising_weight_goes_last(scene: Scene) -> None:
    await scene.apply(canary(50))
    scene.change("Deployment", FLOAT_NAME, lambda body: body["spec"].update(replicas=0))
    await scene.apply(canary(250))
    assert _kinds(scene.cluster.writes) == ["apply Deployment", "apply HTTPRoute"]


async def test_the_route_never_names_a_service_that_is_yet_to_be_made(scene: Scene) -> None:
    await scene.apply(canary(250))
    # A new artifact beside the old one, which leaves the route in the same write.
    other = replace(INT8_RUNNING, digest="d" * 64)
    shares = (replace(canary(0).shares[0], weight=1000), replace(canary(0).shares[1], digest=other.digest))
    await scene.apply(canary(0, running=(canary(0).running[0], other), shares=shares))
    made = scene.cluster.writes.index(("apply", "Service", "digits-int8-dddddddddd"))
    assert made < scene.cluster.writes.index(("apply", "HTTPRoute", "digits"))


async def test_raising_carries_the_version_that_was_seen_and_lowering_does_not(scene: Scene) -> None:
    await scene.apply(canary(50))
    version = scene.route()["metadata"]["resourceVersion"]
    await scene.apply(canary(250))
    assert scene.cluster.applied[-1]["metadata"]["resourceVersion"] == version
    await scene.apply(canary(50))
    assert "resourceVersion" not in scene.cluster.applied[-1]["metadata"]
    assert scene.cluster.urgent == ["digits"]


def _abort(body: Body) -> None:
    body["spec"]["rules"][1]["backendRefs"][0]["weight"] = 1000
    body["spec"]["rules"][1]["backendRefs"][1]["weight"] = 0


@pytest.mark.parametrize("is_seen", [False, True], ids=["unseen by the watch", "seen after the decision"])
async def test_a_weight_lowered_by_hand_meanwhile_is_not_raised(scene: Scene, is_seen: bool) -> None:
    await scene.apply(canary(50))
    seen = scene.seen()
    scene.change("HTTPRoute", "digits", _abort, is_seen=is_seen)
    with pytest.raises(Conflict):
        await scene.apply(canary(250), seen=seen)
    assert backend_weights(scene.route())[INT8_NAME] == 0
    # What was missed is known now, so that the next decision sees the abort.
    assert scene.seen().route == RouteSeen({"f" * 10: 1000, "a" * 10: 0}, accepted=True)


async def test_a_rollback_is_one_urgent_write_of_weights_and_reason(scene: Scene) -> None:
    await scene.apply(canary(250))
    await scene.apply(canary(0), condemned=CONDEMNED)
    assert scene.cluster.writes == [("apply", "HTTPRoute", "digits")]
    assert scene.cluster.urgent == ["digits"]
    assert backend_weights(scene.route())[INT8_NAME] == 0
    assert scene.route()["metadata"]["annotations"][names.ANNOTATION_CONDEMNED] == CONDEMNED


async def test_the_reason_leaves_the_route_once_the_status_holds_it(scene: Scene) -> None:
    await scene.apply(canary(250))
    await scene.apply(canary(0), condemned=CONDEMNED)
    await scene.apply(canary(0))
    assert scene.cluster.writes == []
    assert scene.route()["metadata"]["annotations"][names.ANNOTATION_CONDEMNED] == CONDEMNED
    scene.memory = QuantizedModelStatus(condemned=(Condemned(digest=INT8, reason="mismatch", at=EPOCH),))
    await scene.apply(canary(0))
    assert names.ANNOTATION_CONDEMNED not in scene.route()["metadata"]["annotations"]
    await scene.apply(canary(0))
    assert scene.cluster.writes == []


async def test_a_rollback_does_not_wait_for_a_taken_name(scene: Scene) -> None:
    await scene.apply(canary(250))
    scene.cluster.put({"kind": "Job", "metadata": {"namespace": KEY.namespace, "name": "stranger"}, "spec": {}})
    taken = built(canary(0, quantize=True)).job
    assert taken
    stranger = {**taken, "metadata": {"namespace": KEY.namespace, "name": taken["metadata"]["name"]}}
    scene.cluster.put(stranger)
    with pytest.raises(NameTaken):
        await scene.apply(canary(0, quantize=True), condemned=CONDEMNED)
    assert backend_weights(scene.route())[INT8_NAME] == 0


async def test_a_rollback_leaves_a_strangers_route_alone(scene: Scene) -> None:
    theirs = built(canary(250), uid="somebody-else").route
    route = built(canary(0)).route
    assert theirs
    assert route
    scene.cache.put(scene.cluster.put(theirs))
    await roll_back_route(scene.cluster, scene.cache, route, CONDEMNED)
    assert scene.cluster.writes == []


async def test_nothing_is_removed_before_the_route_has_let_go_and_drained(scene: Scene) -> None:
    await scene.apply(canary(50))
    scene.accept_route()
    assert await scene.apply(FLOAT_ALONE), "the new route is not accepted yet"
    assert INT8_NAME in scene.names_of("Deployment")

    scene.accept_route()
    scene.now += DRAIN - timedelta(seconds=2)
    assert await scene.apply(FLOAT_ALONE) == timedelta(seconds=2)
    assert scene.cluster.writes == []

    scene.now += timedelta(seconds=2)
    assert await scene.apply(FLOAT_ALONE) is None
    assert scene.cluster.writes == [("delete", "Deployment", INT8_NAME), ("delete", "Service", INT8_NAME)]


async def test_a_service_that_the_route_still_names_stays(scene: Scene) -> None:
    await scene.apply(canary(0))
    scene.accept_route()
    scene.now += timedelta(hours=1)
    without_shares = Target(running=FLOAT_ALONE.running, float_digest=FLOAT_ALONE.float_digest)
    assert await scene.apply(without_shares)
    assert INT8_NAME in scene.names_of("Service")


async def test_a_target_that_keeps_all_removes_nothing(scene: Scene) -> None:
    await scene.apply(replace(FLOAT_ALONE, quantize=True))
    await scene.apply(replace(FLOAT_ALONE, keep_all=True))
    assert len(scene.names_of("Job")) == 1


async def test_the_job_goes_when_nothing_is_to_be_quantized(scene: Scene) -> None:
    await scene.apply(replace(FLOAT_ALONE, quantize=True))
    await scene.apply(FLOAT_ALONE)
    assert _kinds(scene.cluster.writes) == ["delete Job"]


async def test_a_job_is_never_written_twice(scene: Scene) -> None:
    await scene.apply(replace(FLOAT_ALONE, quantize=True))
    (name,) = scene.names_of("Job")
    scene.change("Job", name, lambda body: body["spec"]["template"]["spec"]["containers"][0].update(image="older"))
    await scene.apply(replace(FLOAT_ALONE, quantize=True))
    assert scene.cluster.writes == []


async def test_objects_of_others_are_never_removed(scene: Scene) -> None:
    await scene.apply(FLOAT_ALONE)
    other = built(canary(0), uid="somebody-else").deployments[1]
    scene.cache.put(scene.cluster.put(other))
    scene.accept_route()
    scene.now += timedelta(hours=1)
    await scene.apply(FLOAT_ALONE)
    assert scene.cluster.writes == []


async def test_an_object_that_the_cache_only_believes_in_is_found_out(scene: Scene) -> None:
    await scene.apply(FLOAT_ALONE)
    del scene.cluster.objects["Deployment", KEY.namespace, FLOAT_NAME]  # and no watch says so
    changed = spec(runtime={"replicas": 2})
    with pytest.raises(Conflict):
        await apply(scene.cluster, scene.cache, scene.seen(), built(FLOAT_ALONE, changed), FLOAT_ALONE)
    await apply(scene.cluster, scene.cache, scene.seen(), built(FLOAT_ALONE, changed), FLOAT_ALONE)
    assert FLOAT_NAME in scene.names_of("Deployment")


@pytest.mark.parametrize("fail_at", range(8))
async def test_a_failure_at_any_write_is_made_good_by_the_next_pass(scene: Scene, fail_at: int) -> None:
    reference = Scene()
    await reference.apply(canary(50))
    _, kind, name = reference.cluster.writes[fail_at]
    count = 0
    record = scene.cluster._record

    def fail_once(verb: str, body: Any) -> None:
        nonlocal count
        record(verb, body)
        count += 1
        if count == fail_at + 1:
            raise ClusterError(500, "etcd is leaving")

    scene.cluster._record = fail_once  # type: ignore[method-assign]
    with pytest.raises(ClusterError, match="etcd"):
        await scene.apply(canary(50))
    assert (kind, KEY.namespace, name) not in scene.cluster.objects
    await scene.apply(canary(50))
    assert scene.cluster.objects.keys() == reference.cluster.objects.keys()
