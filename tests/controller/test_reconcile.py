"""Whole lives of a model in memory, with the operator dying at every single write."""

from typing import Any

import pytest

from quanary.api.v1alpha1 import Stage as StageWord
from quanary.controller.cluster import ClusterError
from tests.controller.scenes import FLOAT, INT8, NEW_FLOAT
from tests.controller.world import KEY, Stage

FLOAT_NAME, INT8_NAME = f"m-float-{FLOAT[:10]}", f"m-int8-{INT8[:10]}"
ROUNDS = 20


async def promoted(crash_at: int = -1, *, after: bool = False) -> Stage:
    stage = Stage()
    stage.cluster.crash_at, stage.cluster.crash_after_the_write = crash_at, after
    stage.create()
    await stage.live(ROUNDS)
    return stage


async def rolled_back(crash_at: int = -1, *, after: bool = False) -> Stage:
    """A promoted artifact that turns bad."""
    stage = await promoted()
    before = len(stage.cluster.writes)
    stage.cluster.crash_at = before + crash_at if crash_at > 0 else -1
    stage.cluster.crash_after_the_write = after
    stage.traffic.says = {"condemned_by": "errors"}
    await stage.live(ROUNDS)
    return stage


def change_spec(stage: Stage, **changes: Any) -> None:
    """A user edits the resource."""
    body = stage.cluster.objects["QuantizedModel", KEY.namespace, KEY.name]
    metadata = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
    stage.cluster.put({**body, "metadata": metadata, "spec": {**body["spec"], **changes}})


def left_over(stage: Stage) -> set[tuple[str, str]]:
    return {(kind, name) for kind, _, name in stage.cluster.objects if kind != "Pod"}


async def test_a_model_goes_from_nothing_to_promoted_by_its_declared_steps() -> None:
    stage = await promoted()
    assert stage.seen_steps == [5, 50, 100]
    assert stage.seen_stages[-1] == StageWord.PROMOTED
    assert stage.cluster.weights() == {INT8_NAME: 1000}
    assert ("Deployment", FLOAT_NAME) in left_over(stage), "float stays for comparison and rollback"
    assert not any(kind == "Job" for kind, _ in left_over(stage))


async def test_after_convergence_nothing_is_written() -> None:
    stage = await promoted()
    before = len(stage.cluster.writes)
    await stage.live(30)
    assert stage.cluster.writes[before:] == []


async def test_a_crash_before_or_after_any_write_changes_nothing_in_the_end() -> None:
    clean = await promoted()
    assert len(clean.cluster.writes) > 15
    for number in range(1, len(clean.cluster.writes) + 1):
        for after in (False, True):
            stage = await promoted(number, after=after)
            assert stage.seen_steps in ([5, 50, 100], [50, 100], [5, 100], [5, 50]), (
                f"write {number}: {stage.seen_steps}"
            )
            assert left_over(stage) == left_over(clean), f"write {number}"
            assert stage.cluster.weights() == clean.cluster.weights(), f"write {number}"
            assert stage.cluster.status().stage is StageWord.PROMOTED, f"write {number}"


async def test_a_rollback_survives_a_crash_before_or_after_any_of_its_writes() -> None:
    clean = await rolled_back()
    assert clean.cluster.weights() == {FLOAT_NAME: 1000}
    assert clean.cluster.urgent
    writes = len(clean.cluster.writes) - len((await promoted()).cluster.writes)
    assert writes >= 3
    for number in range(1, writes + 1):
        for after in (False, True):
            stage = await rolled_back(number, after=after)
            status = stage.cluster.status()
            assert stage.cluster.weights() == {FLOAT_NAME: 1000}, f"write {number}"
            assert [each.digest for each in status.condemned] == [INT8], f"write {number}"
            assert status.stage is StageWord.ROLLED_BACK, f"write {number}"
            assert left_over(stage) == left_over(clean), f"write {number}"


async def test_a_rollback_is_not_held_up_by_a_status_that_cannot_be_written() -> None:
    stage = await promoted()
    stage.traffic.says = {"condemned_by": "errors"}
    stage.cluster.failures["status", "QuantizedModel"] = ClusterError(500, "etcd is away")
    await stage.live(1)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert not stage.cluster.status().condemned
    stage.traffic.says = {}
    await stage.live(3)
    assert [each.digest for each in stage.cluster.status().condemned] == [INT8]
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}


async def test_a_rolled_back_artifact_gets_nothing_however_calm_it_looks_later() -> None:
    stage = await rolled_back()
    stage.traffic.says = {}
    await stage.live(30)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert ("Service", INT8_NAME) not in left_over(stage)


async def test_retry_lets_it_through_once_more_and_only_once() -> None:
    stage = await rolled_back()
    stage.traffic.says = {}
    change_spec(stage, rollout={"steps": [5, 50, 100], "dwell": "60s", "retry": INT8})
    await stage.live(ROUNDS)
    assert stage.cluster.weights() == {INT8_NAME: 1000}
    stage.traffic.says = {"condemned_by": "errors"}
    await stage.live(2)
    stage.traffic.says = {}
    await stage.live(ROUNDS)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert stage.cluster.status().stage is StageWord.ROLLED_BACK


async def test_a_new_source_model_takes_over_in_one_write_and_the_old_pair_goes_last() -> None:
    stage = await promoted()
    change_spec(stage, model={"uri": "oci://r/m:2", "sha256": NEW_FLOAT})
    await stage.live(1)
    assert stage.cluster.weights() == {INT8_NAME: 1000}, "the old pair serves until the new float has pods"
    await stage.live(ROUNDS)
    assert stage.cluster.status().stage is StageWord.PROMOTED
    assert ("Deployment", FLOAT_NAME) not in left_over(stage)


async def test_a_taken_name_stalls_and_touches_nothing_of_the_stranger() -> None:
    stage = Stage()
    stranger = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": KEY.namespace, "name": "m-twin"}}
    stage.cluster.put({**stranger, "spec": {"ports": []}})
    stage.create()
    await stage.live(5)
    status = stage.cluster.status()
    assert status.stage is StageWord.STALLED
    assert "Service m-twin" in status.because
    assert stage.cluster.objects["Service", KEY.namespace, "m-twin"]["spec"] == {"ports": []}
    before = len(stage.cluster.writes)
    await stage.live(5)
    assert stage.cluster.writes[before:] == []


@pytest.mark.parametrize("kind", ["Deployment", "HTTPRoute", "Job", "Service", "NetworkPolicy"])
async def test_a_child_removed_by_hand_comes_back(kind: str) -> None:
    stage = Stage()
    stage.create()
    await stage.live(3)
    for key in [each for each in stage.cluster.objects if each[0] == kind]:
        del stage.cluster.objects[key]
    await stage.live(ROUNDS)
    assert stage.cluster.weights() == {INT8_NAME: 1000}
