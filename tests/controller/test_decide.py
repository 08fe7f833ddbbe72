"""The lifecycle: one table in plain English, every combination of facts, and a walk through a world that crashes."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quanary.api.names import short
from quanary.api.v1alpha1 import Progress, SealOpening, Source, Stage, Verdict
from quanary.controller.decide import decide
from quanary.controller.decision import JobSeen, Need, Observation, RouteSeen, RouteSupport
from quanary.wire.report import ArtifactFigures, FrontEntry, Handover, Refusal
from tests.controller.scenes import (
    FLOAT,
    INPUTS,
    INT8,
    NEW_FLOAT,
    NOW,
    OLD_INPUTS,
    OTHER,
    SAFER,
    SAFEST,
    SOURCE,
    artifact,
    backend,
    canary,
    condemned,
    disagreeing,
    done,
    drifting,
    evidence,
    front,
    half_way,
    recorded,
    seen,
    signoff,
    spec,
    status,
)

ONLY_FLOAT = {FLOAT: backend(FLOAT)}
DOWN = {FLOAT: backend(FLOAT), INT8: backend(INT8, ready=0)}
ROLLING = {FLOAT: backend(FLOAT, outdated={"f": frozenset({"mismatch"})}), INT8: backend(INT8)}
STUCK = {
    FLOAT: backend(FLOAT),
    INT8: backend(INT8, available=False, failure="ImagePullBackOff", outdated={"i": frozenset({"mismatch"})}),
}
PROMOTED = status(stable=artifact())
BESIDE = status(stable=artifact(OTHER, inputs=OLD_INPUTS), candidate=artifact(), progress=Progress(step=5, since=NOW))
TO_SAFER = spec(rollback={"to": "SaferArtifact"})
FRONT = front(SAFEST, SAFER, OTHER)
FALLEN = status(candidate=artifact(), condemned=condemned(), front=FRONT)
WRONG_CPU = "artifact: found avx2; allowed: avx2, avx512_vnni"
STRAYED = {FLOAT: backend(FLOAT), INT8: backend(INT8, refusal=WRONG_CPU, failure=WRONG_CPU, restarts=9)}
REFUSED = Refusal(field="spec.model.sha256", found="x", allowed="y")

REWRITE = Need("HTTPRoutePathRewrite", "spec.critical.path", "/critical")
GRPC = Need("HTTPRouteBackendProtocolH2C", "spec.route.hostnames", "m.example.com", is_asked=False)
LACKING = RouteSupport((REWRITE,), ((REWRITE, "small"),))

# what differs -> stage, a word of the reason, weights (None: the route is left alone)
CASES: dict[str, tuple[dict[str, Any], Stage, str, dict[str, int] | None]] = {
    "an invalid spec stalls and changes nothing": (
        {"spec": None, "spec_error": "spec.model: missing", "memory": canary(5)}, Stage.STALLED, "spec.model", None),
    "a name that somebody else holds stalls": (
        {"name_taken": "Service m-float belongs to x"}, Stage.STALLED, "belongs to x", None),
    "nothing is done before float has pods": (
        {"memory": status(source=None), "backends": {}}, Stage.PENDING, "waiting for the float pods", None),
    "a float model that cannot start stalls with its reason": (
        {"memory": status(source=None), "backends": {FLOAT: backend(FLOAT, ready=0, failure="spec.model.sha256: no")}},
        Stage.STALLED, "spec.model.sha256", None),
    "float gets everything once it is Available": (
        {"memory": status(source=None), "backends": ONLY_FLOAT}, Stage.SERVING_FLOAT, "float serves", {FLOAT: 1000}),
    "new inputs are quantized": ({"backends": ONLY_FLOAT}, Stage.QUANTIZING, "certifying", {FLOAT: 1000}),
    "a verdict is taken over": ({"job": done()}, Stage.QUANTIZING, "so it is", {FLOAT: 1000}),
    "the artifact that serves is certified anew": (
        {"memory": status(stable=artifact(inputs=OLD_INPUTS)), "job": done()}, Stage.PROMOTED, "so it is",
        {INT8: 1000}),
    "or, over budget on new sealed data, leaves traffic": (
        {"memory": status(stable=artifact(inputs=OLD_INPUTS)), "job": done(Verdict.OVER_BUDGET)}, Stage.QUANTIZING,
        "OverBudget", {FLOAT: 1000}),
    "or, with too few new sealed data to tell, stays, and its lapsed certificate is said": (
        {"memory": status(stable=artifact(verdict=Verdict.NOT_CERTIFIABLE))}, Stage.PROMOTED,
        "its certificate does not hold on the new sealed data", {INT8: 1000}),
    "merely not faster any more, it stays": (
        {"memory": status(stable=artifact(inputs=OLD_INPUTS)), "job": done(Verdict.NOT_BENEFICIAL)}, Stage.PROMOTED,
        "NotBeneficial", {INT8: 1000}),
    "a refusal stalls with the field": (
        {"job": done(None, REFUSED)}, Stage.STALLED, "spec.model.sha256", {FLOAT: 1000}),
    "a Job that failed stalls": (
        {"job": JobSeen(finished=True, failure="OOMKilled")}, Stage.STALLED, "OOMKilled", {FLOAT: 1000}),
    "a Job that cannot start stalls with the reason": (
        {"job": JobSeen(finished=False, failure='persistentvolumeclaim "data" not found')}, Stage.STALLED,
        'cannot start: persistentvolumeclaim "data" not found', {FLOAT: 1000}),
    "an artifact over budget is rejected": (
        {"memory": status(candidate=artifact(verdict=Verdict.OVER_BUDGET, because="drop 3 %"))},
        Stage.REJECTED, "drop 3 %", {FLOAT: 1000}),
    "an artifact that is not faster is rejected": (
        {"memory": status(candidate=artifact(verdict=Verdict.NOT_BENEFICIAL))}, Stage.REJECTED, "NotBeneficial",
        {FLOAT: 1000}),
    "unless no benefit is required": (
        {"memory": status(candidate=artifact(verdict=Verdict.NOT_BENEFICIAL)),
         "spec": spec(benefit={"required": False})}, Stage.CANARY, "5 %", {FLOAT: 950, INT8: 50}),
    "a smaller artifact that is not faster is rejected": (
        {"memory": status(candidate=artifact(verdict=Verdict.SIZE_ONLY))}, Stage.REJECTED, "SizeOnly", {FLOAT: 1000}),
    "unless its verdict is accepted": (
        {"memory": status(candidate=artifact(verdict=Verdict.SIZE_ONLY)),
         "spec": spec(benefit={"accept": ["SizeOnly"]})}, Stage.CANARY, "5 %", {FLOAT: 950, INT8: 50}),
    "another verdict is not accepted with it": (
        {"memory": status(candidate=artifact(verdict=Verdict.INCONCLUSIVE)),
         "spec": spec(benefit={"accept": ["SizeOnly"]})}, Stage.REJECTED, "Inconclusive", {FLOAT: 1000}),
    "without a required benefit no clear one is needed": (
        {"memory": status(candidate=artifact(verdict=Verdict.INCONCLUSIVE)),
         "spec": spec(benefit={"required": False})}, Stage.CANARY, "5 %", {FLOAT: 950, INT8: 50}),
    "but what was not certified stays out": (
        {"memory": status(candidate=artifact(verdict=Verdict.NOT_CERTIFIABLE)),
         "spec": spec(benefit={"required": False, "accept": ["SizeOnly", "Inconclusive"]})}, Stage.REJECTED,
        "NotCertifiable", {FLOAT: 1000}),
    "sealed answers that differ more than the gate allows reject at once": (
        {"memory": status(candidate=disagreeing(0.03, 0.06)), "spec": spec(gates={"mismatch": 0.02})}, Stage.REJECTED,
        "at least 3.00% of answers differ from float's; gates.mismatch allows 2.00%", {FLOAT: 1000}),
    "what is over the sealed budget is called so first, however its answers differ": (
        {"memory": status(candidate=disagreeing(0.9, 0.99, verdict=Verdict.OVER_BUDGET, because="drops by 0.9"))},
        Stage.REJECTED, "OverBudget: drops by 0.9", {FLOAT: 1000}),
    "a gate that is tightened below them takes a canary back": (
        {"memory": canary(50).model_copy(update={"candidate": disagreeing(0.03, 0.06)}),
         "spec": spec(gates={"mismatch": 0.02})}, Stage.REJECTED, "3.00%", {FLOAT: 1000}),
    "without a gate of the user's it follows from the sealed answers": (
        {"memory": status(candidate=disagreeing(0.03, 0.06))}, Stage.CANARY, "5 %", {FLOAT: 950, INT8: 50}),
    "sealed answers that may differ more than half the gate are a warning": (
        {"memory": status(candidate=disagreeing(0.01, 0.03)), "spec": spec(gates={"mismatch": 0.05}),
         "evidence": evidence(proven=False)}, Stage.SHADOWING,
        "up to 3.00% of answers may differ by sealed data, gates.mismatch is 5.00%", {FLOAT: 1000}),
    "shadow waits for the INT8 pods": (
        {"memory": status(candidate=artifact()), "backends": DOWN}, Stage.SHADOWING, "INT8 pods", {FLOAT: 1000}),
    "shadow waits for the proof": (
        {"memory": status(candidate=artifact()), "evidence": evidence(proven=False)}, Stage.SHADOWING, "proven",
        {FLOAT: 1000}),
    "shadow waits for enough samples": (
        {"memory": status(candidate=artifact()), "evidence": evidence(compared_distinct=99)}, Stage.SHADOWING,
        "99 distinct", {FLOAT: 1000}),
    "a proven artifact begins its first step": (
        {"memory": status(candidate=artifact())}, Stage.CANARY, "INT8 at 5 %", {FLOAT: 950, INT8: 50}),
    "evidence half-way by comparisons holds it in shadow": (
        {"memory": status(candidate=artifact()), "evidence": evidence(suspicious=True, gates=half_way("mismatch"))},
        Stage.HELD, "half-way", {FLOAT: 1000}),
    "evidence of users' requests on an earlier step does not: without any it could never fade": (
        {"memory": status(candidate=artifact()), "evidence": evidence(suspicious=True, gates=half_way("errors"))},
        Stage.CANARY, "INT8 at 5 %", {FLOAT: 950, INT8: 50}),
    "the next step is the next declared one": ({"memory": canary(5)}, Stage.CANARY, "50 %", {FLOAT: 500, INT8: 500}),
    "a step that is no longer declared goes on to the next": (
        {"memory": canary(20)}, Stage.CANARY, "50 %", {FLOAT: 500, INT8: 500}),
    "the dwell keeps a step": (
        {"memory": status(candidate=artifact(), progress=Progress(step=5, since=NOW - timedelta(seconds=59)))},
        Stage.CANARY, "dwell", {FLOAT: 950, INT8: 50}),
    "a gate that began anew keeps a step for a dwell of its own": (
        {"memory": canary(5), "evidence": evidence(begun=(NOW - timedelta(seconds=59)).timestamp())},
        Stage.CANARY, "dwell", {FLOAT: 950, INT8: 50}),
    "and no longer": (
        {"memory": canary(5), "evidence": evidence(begun=(NOW - timedelta(seconds=60)).timestamp())},
        Stage.CANARY, "50 %", {FLOAT: 500, INT8: 500}),
    "a gate that began anew off traffic asks for its time there": (
        {"memory": status(candidate=artifact(), progress=Progress(
            since=NOW - timedelta(hours=1), resume_step=50, retreats=(NOW - timedelta(hours=1),))),
         "evidence": evidence(begun=(NOW - timedelta(seconds=119)).timestamp())},
        Stage.HELD, "off traffic", {FLOAT: 1000}),
    "pods of an older spec are told of while it waits": (
        {"memory": status(candidate=artifact(), progress=Progress(step=5, since=NOW)), "backends": ROLLING},
        Stage.CANARY, "pods of an older spec count no more", {FLOAT: 950, INT8: 50}),
    "and in shadow": (
        {"memory": status(candidate=artifact()), "backends": ROLLING, "evidence": evidence(proven=False)},
        Stage.SHADOWING, "pods of an older spec count no more", {FLOAT: 1000}),
    "and of a promoted artifact": (
        {"memory": PROMOTED, "backends": ROLLING}, Stage.PROMOTED, "pods of an older spec count no more", {INT8: 1000}),
    "a promoted artifact whose newer pods do not come says what is not watched": (
        {"memory": PROMOTED, "backends": STUCK}, Stage.PROMOTED, "gather nothing: ImagePullBackOff", {INT8: 1000}),
    "too few comparisons keep a step": (
        {"memory": canary(5, progress={"compared_at_start": 999_500})}, Stage.CANARY, "500 of 1000",
        {FLOAT: 950, INT8: 50}),
    "half-way evidence holds a step": (
        {"memory": canary(5), "evidence": evidence(suspicious=True)}, Stage.HELD, "half-way", {FLOAT: 950, INT8: 50}),
    "a weakened proof holds a step": (
        {"memory": canary(5), "evidence": evidence(safe_now=False)}, Stage.HELD, "weakened", {FLOAT: 950, INT8: 50}),
    "full weight asks for fresh safety": (
        {"memory": canary(100), "evidence": evidence(fresh_safe=False)}, Stage.CANARY, "full weight", {INT8: 1000}),
    "after the last step it is promoted": ({"memory": canary(100)}, Stage.PROMOTED, "every step", {INT8: 1000}),
    "inputs out of the calibrated range hold a step": (
        {"memory": canary(5), "evidence": drifting()}, Stage.HELD,
        "calibration: input-range: 12 of 40 bad in the last minute, 300 of 9000 in all, budget 2.5%",
        {FLOAT: 950, INT8: 50}),
    "so do drifting ones, at full weight too": (
        {"memory": canary(100), "evidence": drifting("input-drift")}, Stage.HELD, "input-drift", {INT8: 1000}),
    "and answers that INT8 is unsure of": (
        {"memory": canary(5), "evidence": drifting("escalation")}, Stage.HELD,
        "answers are unsure more often than may be escalated: escalation: 12 of 40", {FLOAT: 950, INT8: 50}),
    "gates of the inputs that do not hold keep nothing": (
        {"memory": canary(5), "evidence": drifting(holds=False)}, Stage.CANARY, "50 %", {FLOAT: 500, INT8: 500}),
    "a proven artifact does not leave shadow while they hold": (
        {"memory": status(candidate=artifact()), "evidence": drifting()}, Stage.HELD, "INT8 at 0 %: inputs",
        {FLOAT: 1000}),
    "one that is not proven yet goes on proving": (
        {"memory": status(candidate=artifact()), "evidence": drifting(proven=False)}, Stage.SHADOWING, "proven",
        {FLOAT: 1000}),
    "one without pods waits for them": (
        {"memory": status(candidate=artifact()), "backends": DOWN, "evidence": drifting()}, Stage.SHADOWING,
        "INT8 pods", {FLOAT: 1000}),
    "after a retreat no weight is raised either": (
        {"memory": status(candidate=artifact(), progress=Progress(resume_step=50, since=NOW - timedelta(hours=1))),
         "evidence": drifting()}, Stage.HELD, "inputs are unlike", {FLOAT: 1000}),
    "answers that INT8 is unsure of hold at the step": (
        {"memory": canary(50), "evidence": drifting("escalation")}, Stage.HELD, "unsure more often",
        {FLOAT: 500, INT8: 500}),
    "but not in shadow, where nobody asks INT8 and no hold for it could ever end": (
        {"memory": status(candidate=artifact(), progress=Progress(resume_step=50, since=NOW - timedelta(hours=1))),
         "evidence": drifting("escalation")}, Stage.CANARY, "clean in shadow again", {FLOAT: 500, INT8: 500}),
    "a tightened mismatch gate outranks them": (
        {"memory": canary(50), "evidence": drifting(proven=False)}, Stage.SHADOWING, "no longer", {FLOAT: 1000}),
    "proof against the artifact condemns on drifted inputs too": (
        {"memory": canary(50), "evidence": drifting(condemned_by="errors")}, Stage.ROLLED_BACK, "errors",
        {FLOAT: 1000}),
    "beside a stable artifact the candidate is held at its step": (
        {"memory": BESIDE, "evidence": drifting()}, Stage.HELD, "INT8 at 5 %", {OTHER: 950, INT8: 50}),
    "a promoted artifact serves on, and says that its inputs drift": (
        {"memory": PROMOTED, "evidence": drifting()}, Stage.PROMOTED,
        "its inputs are unlike those of calibration (input-range)", {INT8: 1000}),
    "or that it is unsure of them": (
        {"memory": PROMOTED, "evidence": drifting("escalation")}, Stage.PROMOTED,
        "its answers are unsure more often than may be escalated (escalation)", {INT8: 1000}),
    "a tightened gate takes it back to shadow": (
        {"memory": canary(50), "evidence": evidence(proven=False)}, Stage.SHADOWING, "no longer", {FLOAT: 1000}),
    "a gate over its budget rolls back": (
        {"memory": canary(50), "evidence": evidence(condemned_by="errors")}, Stage.ROLLED_BACK,
        "errors: 40 of 80 bad in the last minute, 500 of 1000 in all, budget 0.1%", {FLOAT: 1000}),
    "a gate over its budget in shadow condemns too": (
        {"memory": status(candidate=artifact()), "evidence": evidence(condemned_by="mismatch")}, Stage.ROLLED_BACK,
        "mismatch", {FLOAT: 1000}),
    "a promoted artifact is rolled back to float": (
        {"memory": PROMOTED, "evidence": evidence(condemned_by="mismatch")}, Stage.ROLLED_BACK, "mismatch",
        {FLOAT: 1000}),
    "beside a stable artifact the rest belongs to it": (
        {"memory": BESIDE, "evidence": evidence(compared_distinct=10)}, Stage.CANARY, "dwell", {OTHER: 950, INT8: 50}),
    "a candidate that fails beside a stable one goes back to that": (
        {"memory": BESIDE, "evidence": evidence(condemned_by="errors")}, Stage.ROLLED_BACK, "errors", {OTHER: 1000}),
    "rollback to float leaves the stable artifact too": (
        {"memory": BESIDE, "evidence": evidence(condemned_by="errors"), "spec": spec(rollback={"to": "Float"})},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "but not while float has no pods": (
        {"memory": BESIDE, "evidence": evidence(condemned_by="errors"), "spec": spec(rollback={"to": "Float"}),
         "backends": {FLOAT: backend(FLOAT, ready=0), INT8: backend(INT8), OTHER: backend(OTHER)}},
        Stage.ROLLED_BACK, "errors", {OTHER: 1000}),
    "the next safer artifact of the search follows a condemned one, from shadow": (
        {"memory": FALLEN, "spec": TO_SAFER}, Stage.SHADOWING,
        f"taken from the front (safer) after {INT8[:10]}: errors", {FLOAT: 1000}),
    "beside a stable artifact that goes on serving": (
        {"memory": FALLEN.model_copy(update={"stable": BESIDE.stable}), "spec": TO_SAFER}, Stage.SHADOWING,
        "from the front", {OTHER: 1000}),
    "unless nobody asked for it": ({"memory": FALLEN}, Stage.ROLLED_BACK, "was rolled back: errors", {FLOAT: 1000}),
    "a condemned safer one is passed over for the safest": (
        {"memory": FALLEN.model_copy(update={"condemned": (*condemned(), *condemned(SAFER))}), "spec": TO_SAFER},
        Stage.SHADOWING, f"INT8 {SAFEST[:10]}: taken from the front (safest)", {FLOAT: 1000}),
    "with none left the incumbent serves": (
        {"memory": FALLEN.model_copy(
            update={"condemned": (*condemned(), *condemned(SAFER), *condemned(SAFEST))}), "spec": TO_SAFER},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "a front of other inputs is none": (
        {"memory": FALLEN.model_copy(update={"front": front(SAFEST, inputs=OLD_INPUTS)}), "spec": TO_SAFER},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "faster ones of the front are not safer": (
        {"memory": FALLEN.model_copy(update={"front": front(OTHER)}), "spec": TO_SAFER}, Stage.ROLLED_BACK, "errors",
        {FLOAT: 1000}),
    "nothing follows what a person stopped by hand": (
        {"memory": FALLEN.model_copy(update={"condemned": condemned(reason="abort: its weight was lowered by hand")}),
         "spec": TO_SAFER}, Stage.ROLLED_BACK, "abort", {FLOAT: 1000}),
    "nothing follows while paused": (
        {"memory": FALLEN, "spec": spec(rollback={"to": "SaferArtifact"}, rollout={"mode": "Paused"})},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "retry comes before a safer one": (
        {"memory": FALLEN, "spec": spec(rollback={"to": "SaferArtifact"}, rollout={"retry": INT8})},
        Stage.SHADOWING, "retry names it", {FLOAT: 1000}),
    "though its time has not come while the route still says why": (
        {"memory": FALLEN, "spec": spec(rollback={"to": "SaferArtifact"}, rollout={"retry": INT8}),
         "route": RouteSeen({FLOAT[:10]: 1000}, accepted=True, condemned=((INT8, "errors"),))},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "a safer one that serves already is not proven beside itself": (
        {"memory": FALLEN.model_copy(update={"stable": artifact(SAFER, inputs=OLD_INPUTS)}), "spec": TO_SAFER,
         "backends": {FLOAT: backend(FLOAT), SAFER: backend(SAFER)}}, Stage.PROMOTED, "taken from the front",
        {SAFER: 1000}),
    "the front of a newer search does not follow an older artifact that the route condemned": (
        {"memory": status(stable=artifact(OTHER, inputs=OLD_INPUTS), candidate=artifact(), front=FRONT),
         "spec": TO_SAFER, "evidence": None,
         "route": RouteSeen({FLOAT[:10]: 1000}, accepted=True, condemned=((OTHER, "errors"),))},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "an artifact out of the front needs no verdict on its speed": (
        {"memory": status(candidate=artifact(SAFER, verdict=Verdict.INCONCLUSIVE, role="safer")), "spec": TO_SAFER,
         "backends": {FLOAT: backend(FLOAT), SAFER: backend(SAFER)}}, Stage.CANARY, "5 %", {FLOAT: 950, SAFER: 50}),
    "a candidate on a CPU without its certificate stalls": (
        {"memory": status(candidate=artifact()), "backends": STRAYED}, Stage.STALLED, WRONG_CPU, {FLOAT: 1000}),
    "a canary that strays there loses its weight, and is not condemned": (
        {"memory": canary(50), "backends": STRAYED}, Stage.STALLED, WRONG_CPU, {FLOAT: 1000}),
    "a promoted one leaves everything to float": (
        {"memory": PROMOTED, "backends": STRAYED}, Stage.STALLED, WRONG_CPU, {FLOAT: 1000}),
    "evidence condemns it there too": (
        {"memory": canary(50), "backends": STRAYED, "evidence": evidence(condemned_by="errors")}, Stage.ROLLED_BACK,
        "errors", {FLOAT: 1000}),
    "new inputs are quantized though the old artifact refuses to serve": (
        {"memory": status(stable=artifact(inputs=OLD_INPUTS)), "backends": STRAYED}, Stage.QUANTIZING, "certifying",
        {FLOAT: 1000}),
    "a condemned artifact stays away": (
        {"memory": status(candidate=artifact(), condemned=condemned())}, Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "the route remembers a condemnation that the status missed": (
        {"memory": canary(50), "route": RouteSeen({FLOAT[:10]: 1000}, accepted=True, condemned=((INT8, "slow"),))},
        Stage.ROLLED_BACK, "slow", {FLOAT: 1000}),
    "retry trusts it once more, from shadow": (
        {"memory": status(candidate=artifact(), condemned=condemned()), "spec": spec(rollout={"retry": INT8})},
        Stage.SHADOWING, "retry names it", {FLOAT: 1000}),
    "retry is honoured once": (
        {"memory": status(candidate=artifact(), condemned=condemned(), progress=Progress(retried=INT8)),
         "spec": spec(rollout={"retry": INT8})}, Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "new inputs after a rollback are quantized": (
        {"memory": status(candidate=artifact(inputs=OLD_INPUTS), condemned=condemned())}, Stage.QUANTIZING,
        "certifying", {FLOAT: 1000}),
    "new inputs take an unpromoted candidate off traffic": (
        {"memory": canary(50).model_copy(
            update={"candidate": artifact(inputs=OLD_INPUTS)})}, Stage.QUANTIZING, "certifying", {FLOAT: 1000}),
    "fast evidence retreats without condemning": (
        {"memory": canary(50), "evidence": evidence(retreat_by="errors")}, Stage.HELD, "off traffic", {FLOAT: 1000}),
    "a second retreat within a day condemns": (
        {"memory": canary(50, progress={"retreats": (NOW - timedelta(hours=23),)}),
         "evidence": evidence(retreat_by="errors")}, Stage.ROLLED_BACK, "second retreat", {FLOAT: 1000}),
    "a retreat of the day before yesterday is forgiven": (
        {"memory": canary(50, progress={"retreats": (NOW - timedelta(hours=25),)}),
         "evidence": evidence(retreat_by="errors")}, Stage.HELD, "off traffic", {FLOAT: 1000}),
    "after a retreat it waits for 120 clean seconds": (
        {"memory": status(candidate=artifact(), progress=Progress(
            since=NOW - timedelta(seconds=119), resume_step=50, retreats=(NOW - timedelta(seconds=119),)))},
        Stage.HELD, "50 %", {FLOAT: 1000}),
    "then it returns to the step it left": (
        {"memory": status(candidate=artifact(), progress=Progress(
            since=NOW - timedelta(seconds=120), resume_step=50, retreats=(NOW - timedelta(seconds=120),)))},
        Stage.CANARY, "50 %", {FLOAT: 500, INT8: 500}),
    "but not without the proof that a gate tightened meanwhile asks for": (
        {"memory": status(candidate=artifact(), progress=Progress(since=NOW - timedelta(hours=1), resume_step=50)),
         "evidence": evidence(proven=False)}, Stage.SHADOWING, "no longer holds", {FLOAT: 1000}),
    "a silent canary leaves traffic": (
        {"memory": canary(50), "evidence": evidence(int8_silent=True)}, Stage.HELD, "no fresh samples", {FLOAT: 1000}),
    "both silent hold": (
        {"memory": canary(50), "evidence": evidence(int8_silent=True, float_silent=True)}, Stage.HELD, "either variant",
        {FLOAT: 500, INT8: 500}),
    "Prometheus gone holds": (
        {"memory": canary(50), "evidence": evidence(prometheus_gone=True, int8_silent=True)}, Stage.HELD,
        "Prometheus", {FLOAT: 500, INT8: 500}),
    "lost comparisons hold": (
        {"memory": canary(50), "evidence": evidence(dropped_ratio=0.21)}, Stage.HELD, "21% of comparisons",
        {FLOAT: 500, INT8: 500}),
    "of pods that are gone, that is what is said": (
        {"memory": status(candidate=artifact()), "evidence": evidence(dropped_ratio=0.21),
         "backends": {FLOAT: backend(FLOAT), INT8: backend(INT8, ready=0, failure="ErrImagePull")}},
        Stage.STALLED, "ErrImagePull", {FLOAT: 1000}),
    "unready pods leave traffic": (
        {"memory": canary(50), "backends": DOWN}, Stage.HELD, "too few ready", {FLOAT: 1000}),
    "too few ready pods for the share leave traffic": (
        {"memory": canary(100), "spec": spec(runtime={"replicas": 2})}, Stage.HELD, "too few ready", {FLOAT: 1000}),
    "pods that restart thrice in a step condemn": (
        {"memory": canary(50), "backends": {FLOAT: backend(FLOAT), INT8: backend(INT8, restarts=3)}},
        Stage.ROLLED_BACK, "restarted 3 times", {FLOAT: 1000}),
    "a weight lowered by hand is an abort": (
        {"memory": canary(50, weights=recorded(INT8, 500, 500)), "route": RouteSeen({INT8[:10]: 10}, accepted=True)},
        Stage.ROLLED_BACK, "by hand", {FLOAT: 1000}),
    "a weight not raised yet is no abort": (
        {"memory": canary(50, weights=recorded(INT8, 500, 50)), "route": RouteSeen({INT8[:10]: 50}, accepted=True)},
        Stage.CANARY, "100 %", {INT8: 1000}),
    "paused goes nowhere": (
        {"memory": canary(5), "spec": spec(rollout={"mode": "Paused"})}, Stage.HELD, "Paused", {FLOAT: 950, INT8: 50}),
    "paused still rolls back": (
        {"memory": canary(5), "spec": spec(rollout={"mode": "Paused"}), "evidence": evidence(condemned_by="errors")},
        Stage.ROLLED_BACK, "errors", {FLOAT: 1000}),
    "the kill switch serves float alone": (
        {"memory": PROMOTED, "switched_off": True}, Stage.SERVING_FLOAT, "kill switch", {FLOAT: 1000}),
    "FloatOnly serves float alone": (
        {"memory": canary(50), "spec": spec(rollout={"mode": "FloatOnly"})}, Stage.SERVING_FLOAT, "FloatOnly",
        {FLOAT: 1000}),
    "the kill switch waits for float's endpoints": (
        {"memory": PROMOTED, "switched_off": True, "backends": {FLOAT: backend(FLOAT, ready=0), INT8: backend(INT8)}},
        Stage.PROMOTED, "evidence goes on", {INT8: 1000}),
    "promoted goes on": ({"memory": PROMOTED}, Stage.PROMOTED, "evidence goes on", {INT8: 1000}),
    "a stable artifact without pods leaves everything to float": (
        {"memory": PROMOTED, "backends": DOWN}, Stage.PROMOTED, "float's until they are", {FLOAT: 1000}),
    "promoted without Prometheus says that nothing watches": (
        {"memory": PROMOTED, "evidence": evidence(prometheus_gone=True)}, Stage.PROMOTED, "nothing watches",
        {INT8: 1000}),
    "with nothing ready the route is left alone": (
        {"memory": PROMOTED, "backends": {}}, Stage.PROMOTED, "not ready", None),
    "a new source model waits beside the old pair": (
        {"memory": PROMOTED, "spec": spec(model={"uri": "oci://r/m:2", "sha256": NEW_FLOAT})}, Stage.SERVING_FLOAT,
        "waiting for the float pods", {INT8: 1000}),
    "a new source model gets everything in one write": (
        {"memory": PROMOTED, "spec": spec(model={"uri": "oci://r/m:2", "sha256": NEW_FLOAT}),
         "backends": {each: backend(each) for each in (FLOAT, INT8, NEW_FLOAT)}}, Stage.SERVING_FLOAT, "float serves",
        {NEW_FLOAT: 1000}),
    "a gateway that refuses the route stalls": (
        {"route": RouteSeen({}, accepted=False, refusal="not allowed")}, Stage.STALLED, "spec.route.parentRefs",
        {FLOAT: 1000}),
    "a gateway that says nothing stalls after a while": (
        {"route": RouteSeen({}, accepted=False, has_parents=False, age=timedelta(seconds=31))}, Stage.STALLED,
        "no gateway answers", {FLOAT: 1000}),
    "float alone from the beginning is brought up first": (
        {"memory": status(source=None), "spec": spec(rollout={"mode": "FloatOnly"}), "backends": ONLY_FLOAT},
        Stage.SERVING_FLOAT, "float serves", {FLOAT: 1000}),
    "what a Gateway cannot do stalls by its field, and what serves serves on": (
        {"memory": canary(5), "support": LACKING}, Stage.STALLED, "spec.critical.path: found /critical",
        {FLOAT: 950, INT8: 50}),
    "evidence rolls back whatever a Gateway lacks": (
        {"memory": canary(5), "support": LACKING, "evidence": evidence(condemned_by="errors")}, Stage.ROLLED_BACK,
        "errors", {FLOAT: 1000}),
    "a Gateway that does not say what it can do holds nothing up": (
        {"memory": canary(5), "support": RouteSupport((REWRITE,), (), ("nobody knows",))}, Stage.CANARY, "50 %",
        {FLOAT: 500, INT8: 500}),
    "gRPC that merely came with a host name is left out": (
        {"support": RouteSupport((GRPC,), ((GRPC, "small"),))}, Stage.QUANTIZING, "", {FLOAT: 1000}),
}  # fmt: skip


@pytest.mark.parametrize(("differs", "stage", "word", "weights"), CASES.values(), ids=CASES.keys())
def test_lifecycle(differs: dict[str, Any], stage: Stage, word: str, weights: dict[str, int] | None) -> None:
    decision = decide(seen(**differs))
    assert decision.stage is stage, decision.because
    assert word in decision.because
    assert {share.digest: share.weight for share in decision.target.shares} == (weights or {})


def every_observation() -> list[Observation]:
    memories = [status(source=None), status(), status(candidate=artifact()), canary(5), canary(100), PROMOTED, BESIDE]
    memories += [status(candidate=artifact(), condemned=condemned()), status(candidate=artifact(verdict="OverBudget"))]
    proofs = [None, evidence(), evidence(proven=False, safe_now=False), evidence(condemned_by="errors")]
    proofs += [evidence(retreat_by="errors"), evidence(int8_silent=True), evidence(prometheus_gone=True), drifting()]
    readiness = [dict(zip((FLOAT, INT8, OTHER), each, strict=True)) for each in itertools.product((0, 1), repeat=3)]
    specs = [spec(), spec(rollout={"mode": "Paused"}), spec(rollout={"mode": "FloatOnly"}), None]
    specs += [spec(model={"uri": "oci://r/m:2", "sha256": NEW_FLOAT})]
    jobs = [None, done(), JobSeen(finished=True, failure="no")]
    routes = [None, RouteSeen({}, accepted=False, refusal="no")]
    everything = itertools.product(memories, proofs, readiness, specs, jobs, routes)
    after_a_fall = itertools.product([FALLEN, canary(5), PROMOTED], proofs, readiness, [TO_SAFER], [None], [None])
    return [
        seen(
            memory=memory,
            evidence=proof,
            backends={digest: backend(digest, ready=count) for digest, count in ready.items()},
            spec=a_spec,
            spec_error="" if a_spec else "spec: bad",
            job=job,
            route=route,
        )
        for memory, proof, ready, a_spec, job, route in itertools.chain(everything, after_a_fall)
    ]


def test_every_combination_of_facts_gets_a_safe_decision() -> None:
    observations = every_observation()
    assert len(observations) > 10_000
    for each in observations:
        decision = decide(each)
        weights = {share.digest: share.weight for share in decision.target.shares}
        assert decision.because
        assert sum(weights.values()) in {0, 1000}
        assert all(each.backends[digest].ready for digest in weights), "weight without ready endpoints"
        assert set(weights) <= {run.digest for run in decision.target.running}, "weight to what is not kept running"
        step = decision.memory.progress.step if decision.memory.candidate else 0
        allowed = 1000 if decision.memory.stable and decision.memory.stable.digest == INT8 else step * 10
        assert weights.get(INT8, 0) <= allowed, "weight beyond the step"
        if each.evidence and each.evidence.condemned_by and each.spec:
            condemned_now = {entry.digest for entry in decision.memory.condemned}
            assert not condemned_now & set(weights), "weight to a condemned artifact"


def test_a_decision_repeats_itself_when_nothing_changes() -> None:
    """Deciding again from what was remembered never goes back or skips."""
    for each in every_observation()[::7]:
        first = decide(each)
        again = decide(replace(each, memory=remember(each, first)))
        once_more = decide(replace(each, memory=remember(each, again)))
        assert once_more.memory.progress.step <= 100
        assert len(once_more.memory.condemned) >= len(first.memory.condemned) or once_more.memory.progress.retried


def test_drifting_inputs_never_raise_a_weight_nor_condemn() -> None:
    for each in every_observation():
        if each.evidence is None or not each.evidence.holding or not each.evidence.proven:
            continue
        decision = decide(each)
        before = each.memory.progress if each.memory.candidate else Progress()
        assert decision.memory.progress.step <= before.step, decision.because
        assert {entry.digest for entry in decision.memory.condemned} <= {e.digest for e in each.memory.condemned}
        assert (decision.stage is Stage.PROMOTED) <= (each.memory.stable is not None)


def test_drift_holds_by_name_and_says_so_of_a_promoted_artifact_without_figures() -> None:
    held, promoted = (decide(seen(memory=each, evidence=drifting())) for each in (canary(5), PROMOTED))
    assert (held.reason, promoted.reason) == ("InputDrift", "InputDrift")
    assert held.memory.progress.step == 5
    assert held.memory.progress.since == canary(5).progress.since, "the dwell goes on"
    # At rest every new sentence is written: figures would write with every sample.
    assert not any(figure in promoted.because for figure in ("300", "9000", "2.5%"))


def remember(at: Observation, decision: Any) -> Any:
    memory = decision.memory
    return at.memory.model_copy(
        update={
            "source": memory.source,
            "candidate": memory.candidate,
            "stable": memory.stable,
            "condemned": memory.condemned,
            "progress": memory.progress,
            "front": memory.front,
            "seal": memory.seal,
        }
    )


def test_the_walk_from_nothing_to_promoted_visits_every_declared_step_in_order() -> None:
    at = seen(memory=status(source=None), backends={}, route=None, evidence=None)
    steps: list[int] = []
    stages: list[Stage] = []
    for _ in range(200):
        decision = decide(at)
        stages.append(decision.stage)
        steps.append(decision.memory.progress.step)
        at = the_world_obeys(at, decision)
        if decision.stage is Stage.PROMOTED:
            break
    assert list(dict.fromkeys(each for each in steps if each)) == [5, 50, 100]
    order = [Stage.PENDING, Stage.SERVING_FLOAT, Stage.QUANTIZING, Stage.SHADOWING, Stage.CANARY, Stage.PROMOTED]
    assert list(dict.fromkeys(stages)) == order


def the_world_obeys(at: Observation, decision: Any) -> Observation:
    running = {run.digest: backend(run.digest) for run in decision.target.running}
    weights = {short(share.digest): share.weight for share in decision.target.shares}
    compared = at.evidence.compared_distinct + 2000 if at.evidence else 0
    return replace(
        at,
        now=at.now + timedelta(seconds=61),
        memory=remember(at, decision),
        backends=running,
        job=done() if decision.target.quantize else None,
        route=RouteSeen(weights, accepted=True),
        evidence=evidence(compared_distinct=compared) if INT8 in at.backends else None,
    )


def test_retry_forgets_only_the_digest_it_names() -> None:
    both = (*condemned(), *condemned(OTHER))
    decision = decide(seen(memory=status(candidate=artifact(), condemned=both), spec=spec(rollout={"retry": INT8})))
    assert [each.digest for each in decision.memory.condemned] == [OTHER]


def test_a_handover_is_remembered_with_its_lineage() -> None:
    decision = decide(seen(job=done()))
    assert decision.memory.candidate is not None
    assert decision.memory.candidate.digest == INT8
    assert decision.memory.candidate.inputs == INPUTS
    assert decision.memory.provenance is not None
    assert decision.memory.provenance.model == SOURCE.sha256
    assert Source.model_validate(SOURCE.model_dump()) == decision.memory.source


def test_a_handover_brings_its_front_its_cpu_and_its_opening() -> None:
    entry = FrontEntry(
        sha256=SAFER, uri="oci://r/s", role="smallest", size_ratio=0.6, drop_upper_bound=0.002, safer=True
    )
    chosen = FrontEntry(sha256=INT8, uri="oci://r/i", role="fastest", size_ratio=0.3, drop_upper_bound=0.004)
    figures = ArtifactFigures(file="m", sha256=INT8, size_ratio=0.3, latency_ratio=2, portable=False)
    handover = Handover(
        inputs=INPUTS,
        verdict=Verdict.BENEFICIAL,
        artifact=figures,
        out_of_range_budget=0.03,
        front=(entry, entry, chosen),
        cpu_features=("avx2", "avx512f"),
        signoff=signoff(upper=0.07),
    )
    opening = SealOpening(data="d" * 64, number=1, artifacts=(INT8,))
    decision = decide(seen(job=JobSeen(finished=True, handover=handover), openings=(opening,)))
    artifact_ = decision.memory.candidate
    assert artifact_
    assert (artifact_.portable, artifact_.cpu_features) == (False, ("avx2", "avx512f"))
    assert artifact_.disagreement_upper_bound == 0.07
    assert artifact_.out_of_range_budget == 0.03
    [other] = decision.memory.front
    assert (other.digest, other.inputs, other.role, other.safer) == (SAFER, INPUTS, "smallest", True)
    assert decision.memory.seal == (opening,)


def handed_over(verdict: Verdict, uri: str, *front: FrontEntry) -> JobSeen:
    figures = ArtifactFigures(file="m", sha256=INT8, size_ratio=0.3, latency_ratio=2)
    return JobSeen(True, Handover(inputs=INPUTS, verdict=verdict, artifact=figures, uri=uri, front=front))


def test_an_artifact_whose_uri_did_not_fit_the_handover_lies_beside_the_chosen_one() -> None:
    entry = FrontEntry(sha256=SAFER, role="safer", size_ratio=0.6, drop_upper_bound=0.002, safer=True)
    pinned = "oci://registry.example:5000/team/m@sha256:" + "0" * 64
    decision = decide(seen(job=handed_over(Verdict.BENEFICIAL, pinned, entry)))
    assert [each.uri for each in decision.memory.front] == [f"oci://registry.example:5000/team/m:{SAFER}"]


def test_a_serving_artifact_that_was_not_published_again_is_fetched_from_where_it_was() -> None:
    stable = artifact(inputs=OLD_INPUTS)
    decision = decide(seen(memory=status(stable=stable), job=handed_over(Verdict.NOT_CERTIFIABLE, "")))
    assert stable.uri
    assert [each.uri for each in decision.target.running if each.variant == "int8"] == [stable.uri]


def test_an_artifact_out_of_the_front_has_the_budget_of_its_search() -> None:
    fallen = FALLEN.model_copy(update={"candidate": artifact(out_of_range_budget=0.04)})
    taken = decide(seen(memory=fallen, spec=TO_SAFER)).memory.candidate
    assert taken
    assert (taken.digest, taken.out_of_range_budget) == (SAFER, 0.04)


def test_a_rejected_canary_forgets_its_step() -> None:
    canary_ = canary(50).model_copy(update={"candidate": disagreeing(0.03, 0.06)})
    decision = decide(seen(memory=canary_, spec=spec(gates={"mismatch": 0.02})))
    assert (decision.stage, decision.memory.progress.step) == (Stage.REJECTED, 0)


def test_what_is_not_portable_runs_with_the_features_it_was_certified_on() -> None:
    memory = status(candidate=artifact(portable=False, cpu_features=("avx2",)))
    [int8] = [each for each in decide(seen(memory=memory)).target.running if each.variant == "int8"]
    assert (int8.portable, int8.cpu_features) == (False, ("avx2",))


def test_what_a_gateway_lacks_goes_with_every_route() -> None:
    for support in (LACKING, RouteSupport((GRPC,), ((GRPC, "small"),))):
        for memory in (status(), canary(5), PROMOTED):
            target = decide(seen(memory=memory, support=support)).target
            assert target.lacking == {need.feature for need, _ in support.lacking}
