"""Whole lives of a model in memory, with the operator dying at every single write."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from quanary.api import names
from quanary.api.v1alpha1 import Stage as StageWord
from quanary.controller.cluster import ClusterError
from quanary.controller.evidence import Evidence
from quanary.controller.settings import Settings
from quanary.controller.telemetry import Subject
from quanary.wire.report import FrontEntry, Opening, Refusal
from tests.controller.scenes import FLOAT, INT8, NEW_FLOAT, SAFER, SAFEST
from tests.controller.world import KEY, Stage, Traffic

FLOAT_NAME, INT8_NAME = f"m-float-{FLOAT[:10]}", f"m-int8-{INT8[:10]}"
SAFER_NAME, SAFEST_NAME = f"m-int8-{SAFER[:10]}", f"m-int8-{SAFEST[:10]}"
ROUNDS = 20
SEALED = "d" * 64


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


async def with_a_front() -> Stage:
    """A promoted artifact out of a front, with the wish to fall back on a safer one; it turns bad."""
    stage = Stage()
    stage.handed_over = {
        "front": tuple(
            FrontEntry(
                sha256=digest, uri=f"oci://r/{role}", role=role, size_ratio=0.5, drop_upper_bound=0.001, safer=True
            )
            for digest, role in ((SAFEST, "safest"), (SAFER, "safer"))
        ),
        "opening": Opening(data=SEALED, number=1, artifacts=(INT8, SAFER, SAFEST)),
    }
    stage.create(rollback={"to": "SaferArtifact"})
    await stage.live(ROUNDS)
    assert stage.cluster.weights() == {INT8_NAME: 1000}
    stage.traffic.against = {INT8: {"condemned_by": "errors"}}
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


async def test_float_alone_from_the_beginning_comes_up_and_stays() -> None:
    stage = Stage()
    stage.create(rollout={"mode": "FloatOnly"})
    await stage.live(5)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert ("Deployment", FLOAT_NAME) in left_over(stage)
    before = len(stage.cluster.writes)
    await stage.live(10)
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


class TrafficOfABudget(Traffic):
    """Another budget takes the proof back, as it does of a real one."""

    @override
    def revise(self, subject: Subject) -> Evidence | None:
        before, found = self.subject, super().revise(subject)
        is_changed = before is not None and before.mismatch != subject.mismatch
        return replace(found, proven=False, checkpoint="begun anew") if found and is_changed else found


async def test_nothing_is_decided_on_a_proof_that_the_very_edit_takes_back() -> None:
    stage = Stage()
    stage.traffic = TrafficOfABudget()
    stage.create()
    while stage.cluster.status().progress.step != 100:
        await stage.live(1)
    steps = {"steps": [5, 50, 100], "dwell": "60s"}
    change_spec(stage, rollout={**steps, "mode": "Paused"})
    await stage.live(2)
    assert stage.cluster.status().progress.step == 100
    change_spec(stage, rollout=steps, gates={"mismatch": 0.005})
    await stage.live(1)
    status = stage.cluster.status()
    assert (status.stage, status.progress.step) == (StageWord.SHADOWING, 0)
    assert status.checkpoint == "begun anew", "a crash does not bring the proof back"
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}


TRITON = {"type": "Triton", "server": {"image": f"nvcr.io/nvidia/tritonserver@sha256:{'c' * 64}"}}


@pytest.mark.parametrize(
    ("change", "gates"),
    [
        ({"gates": {"divergence": {"measure": "Cosine", "limit": 0.1}}}, {"mismatch"}),
        ({"gates": {"latency": {"p99": "10ms"}}}, {"latency"}),
        ({"runtime": TRITON}, {"mismatch", "answers"}),
    ],
    ids=["measure", "latency", "server"],
)
async def test_pods_that_were_not_rolled_yet_are_known_by_name(change: dict[str, Any], gates: set[str]) -> None:
    stage = Stage()
    stage.settings = Settings(allowed_images=("nvcr.io/",))
    stage.create()
    while not stage.seen_steps:
        await stage.live(1)
    stage.is_stuck = True
    change_spec(stage, **change)
    await stage.live(ROUNDS)
    assert 100 not in stage.seen_steps, "INT8's pods are not Available at their newest template"
    older = {f"{FLOAT_NAME}-0": frozenset(gates), f"{INT8_NAME}-0": frozenset(gates)}
    assert stage.traffic.subject
    assert stage.traffic.subject.outdated == older
    before = len(stage.cluster.writes)
    await stage.live(3)
    assert all(kind == names.KIND for _, kind, _ in stage.cluster.writes[before:]), "nothing but the status"
    stage.is_stuck = False
    await stage.live(ROUNDS)
    assert stage.seen_steps == [5, 50, 100]
    assert stage.traffic.subject.outdated == dict.fromkeys(older, frozenset[str]())


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


async def test_a_safer_artifact_of_the_same_search_takes_over_from_shadow_without_a_job() -> None:
    stage = await with_a_front()
    before = len(stage.cluster.writes)
    await stage.live(2)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}, "the incumbent serves at once"
    assert stage.seen_stages[-2:] == [StageWord.ROLLED_BACK, StageWord.SHADOWING]
    stage.seen_steps = []
    await stage.live(ROUNDS)
    status = stage.cluster.status()
    assert stage.seen_steps == [5, 50, 100], "it is proven like any other"
    assert stage.cluster.weights() == {SAFER_NAME: 1000}
    assert [each.digest for each in status.condemned] == [INT8]
    assert status.stable
    assert status.stable.because.startswith(f"taken from the front (safer) after {INT8[:10]}: errors")
    assert not any("Job" in str(write) for write in stage.cluster.writes[before:])


async def test_one_safer_artifact_after_the_other_and_then_the_incumbent() -> None:
    stage = await with_a_front()
    stage.traffic.against |= {SAFER: {"condemned_by": "mismatch"}}
    await stage.live(2 * ROUNDS)
    assert stage.cluster.weights() == {SAFEST_NAME: 1000}
    stage.traffic.against |= {SAFEST: {"condemned_by": "mismatch"}}
    await stage.live(ROUNDS)
    status = stage.cluster.status()
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert status.stage is StageWord.ROLLED_BACK
    assert [each.digest for each in status.condemned] == [INT8, SAFER, SAFEST]
    before = len(stage.cluster.writes)
    await stage.live(5)
    assert stage.cluster.writes[before:] == [], "nothing is left to try"


async def test_the_way_to_a_safer_artifact_survives_a_crash_before_or_after_any_of_its_writes() -> None:
    turning_bad = await with_a_front()
    before = len(turning_bad.cluster.writes)
    clean = turning_bad.again()
    await clean.live(ROUNDS)
    writes = len(clean.cluster.writes) - before
    assert writes > 10
    for number, after in itertools.product(range(1, writes + 1), (False, True)):
        stage = turning_bad.again()
        stage.cluster.crash_at, stage.cluster.crash_after_the_write = before + number, after
        await stage.live(ROUNDS)
        status = stage.cluster.status()
        assert stage.cluster.crash_at == -1, "it never crashed"
        assert stage.cluster.weights() == {SAFER_NAME: 1000}, f"write {number}"
        assert status.stage is StageWord.PROMOTED, f"write {number}"
        assert [each.digest for each in status.condemned] == [INT8], f"write {number}"
        assert left_over(stage) == left_over(clean), f"write {number}"


async def test_an_opening_of_the_seal_outlives_the_spec_it_was_opened_for() -> None:
    stage = await with_a_front()
    stage.traffic.against = {}
    change_spec(stage, validation={"data": {"uri": "oci://r/data:2", "sha256": "7" * 64}})
    stage.handed_over = {"opening": Opening(data="7" * 64, number=1, artifacts=(INT8,))}
    await stage.live(ROUNDS)
    assert [(each.data, each.number) for each in stage.cluster.status().seal] == [(SEALED, 1), ("7" * 64, 1)]


async def test_an_opening_is_remembered_though_the_spec_changed_before_its_job_was_heard() -> None:
    stage = Stage()
    stage.create()
    stage.handed_over = {"opening": Opening(data=SEALED, number=1, artifacts=(INT8,))}
    await stage.live(3)
    assert any(kind == "Job" for kind, _ in left_over(stage))
    assert not stage.cluster.status().seal
    stage.nodes_and_gateway()
    change_spec(stage, benefit={"minSpeedup": 1.5})
    await stage.live(1)
    assert [each.data for each in stage.cluster.status().seal] == [SEALED]
    jobs = [body for (kind, _, _), body in stage.cluster.objects.items() if kind == "Job"]
    assert len(jobs) == 1, "of the new inputs alone"
    [opening] = [
        word
        for word in jobs[0]["spec"]["template"]["spec"]["containers"][0]["args"]
        if word.startswith("--seal-opening=")
    ]
    assert Opening.model_validate_json(opening.partition("=")[2]).artifacts == (INT8,)


async def test_pods_that_refuse_their_cpu_leave_everything_to_float_until_a_person_acts() -> None:
    stage = await promoted()
    refusal = Refusal(field="spec.runtime.nodeSelector", found="avx2", allowed="avx2, avx512_vnni")
    stage.refusing = {INT8_NAME: refusal}
    await stage.live(2)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    status = stage.cluster.status()
    assert (status.stage, status.because) == (StageWord.STALLED, refusal.sentence)
    assert not status.condemned, "the node is at fault"
    before = len(stage.cluster.writes)
    await stage.live(5)
    assert stage.cluster.writes[before:] == []
    stage.refusing = {}
    await stage.live(3)
    assert stage.cluster.weights() == {INT8_NAME: 1000}
    assert stage.cluster.status().stage is StageWord.PROMOTED


async def test_a_canary_whose_pods_refuse_their_cpu_begins_again_in_shadow() -> None:
    stage = Stage()
    stage.create()
    while stage.cluster.status().progress.step != 50:
        await stage.live(1)
    stage.refusing = {INT8_NAME: Refusal(field="spec.runtime.nodeSelector", found="avx2", allowed="avx512_vnni")}
    await stage.live(3)
    assert stage.cluster.weights() == {FLOAT_NAME: 1000}
    assert stage.cluster.status().stage is StageWord.STALLED
    assert not stage.cluster.status().condemned
    stage.refusing, stage.seen_steps = {}, []
    await stage.live(ROUNDS)
    assert stage.seen_steps == [5, 50, 100]
