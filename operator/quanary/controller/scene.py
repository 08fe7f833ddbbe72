"""An observation read in the words of the lifecycle, and decisions built from it. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import ceil
from typing import Final

from quanary.api.names import short
from quanary.api.v1alpha1 import Artifact, Condemned, Progress, QuantizedModelSpec, Source, Stage
from quanary.controller.decision import WHOLE, Decision, Memory, Observation, Running, Share, Target
from quanary.controller.fitness import disagreement, is_accepted
from quanary.controller.seal import merge

# When to look again.
SOON: Final = timedelta(0)
WATCHFUL: Final = timedelta(seconds=5)
UNHURRIED: Final = timedelta(seconds=60)

# Of a serving artifact that new sealed data are too few to certify again.
CERTIFICATE_LAPSED: Final = "CertificateLapsed"


@dataclass(frozen=True)
class Scene:
    """What the rules ask of an observation."""

    seen: Observation

    @property
    def spec(self) -> QuantizedModelSpec:
        """The spec; rules after `refuse_invalid_spec` may rely on it."""
        if self.seen.spec is None:
            message = "no valid spec: refuse_invalid_spec comes first"
            raise AssertionError(message)
        return self.seen.spec

    @cached_property
    def memory(self) -> Memory:
        """What is remembered, less a candidate of other inputs, plus what the route says was condemned."""
        status = self.seen.memory
        candidate, stable, progress = status.candidate, status.stable, status.progress
        if candidate and candidate.inputs != self.seen.inputs:
            candidate, progress = None, Progress(retried=progress.retried)
        if not self.spec.rollout.retry:
            progress = progress.model_copy(update={"retried": ""})
        condemned = self._condemned()
        digests = {each.digest for each in condemned}
        if stable and stable.digest in digests:  # the route knew it before the status did
            candidate, stable = stable, None
        if candidate and (candidate.digest in digests or not self.is_fit(candidate)):
            progress = Progress(retreats=progress.retreats, retried=progress.retried)
        seal = merge(status.seal, self.seen.openings)
        return Memory(status.source, candidate, stable, condemned, progress, status.provenance, status.front, seal)

    def _condemned(self) -> tuple[Condemned, ...]:
        # The route's annotation is written in the very patch that rolls back, so it may know more than the status.
        known = {each.digest for each in self.seen.memory.condemned}
        route = self.seen.route.condemned if self.seen.route else ()
        news = (Condemned(digest=d, reason=r, at=self.seen.now) for d, r in route if d not in known)
        return (*self.seen.memory.condemned, *news)

    @property
    def progress(self) -> Progress:
        """Where the candidate stands."""
        return self.memory.progress

    @property
    def wanted_source(self) -> Source:
        """The float model that the spec names."""
        return self.spec.model

    @property
    def source(self) -> Source:
        """The float model that serves, or is about to."""
        return self.memory.source or self.spec.model

    @property
    def source_changed(self) -> bool:
        """Whether the spec names another float model than the one that serves."""
        return self.source.sha256 != self.spec.model.sha256

    @property
    def candidate(self) -> Artifact | None:
        """The artifact of the present inputs that is not promoted."""
        return self.memory.candidate

    @property
    def subject(self) -> Artifact | None:
        """The artifact that evidence speaks of: the running candidate, else the stable one."""
        return self.candidate if self._runs(self.memory) else self.memory.stable

    @property
    def has_artifact_of_inputs(self) -> bool:
        """Whether the present inputs have been quantized."""
        stable = self.memory.stable
        return self.candidate is not None or (stable is not None and stable.inputs == self.seen.inputs)

    @property
    def int8_carries_traffic(self) -> bool:
        """Whether any INT8 artifact is meant to answer users."""
        return self.memory.stable is not None or self.progress.step > 0

    @property
    def is_promoted(self) -> bool:
        """Whether nothing is in progress beside a stable artifact."""
        return self.memory.stable is not None and self.candidate is None and self.has_artifact_of_inputs

    @property
    def job_runs(self) -> bool:
        """Whether a quantizer Job is there."""
        return self.seen.job is not None

    @property
    def judged(self) -> timedelta:
        """How long the present step, or the time off traffic, has been watched by all gates as the spec sets them."""
        now, evidence = self.seen.now, self.seen.evidence
        begun = datetime.fromtimestamp(evidence.begun if evidence else 0.0, UTC)
        return now - max(self.progress.since or now, begun)

    @property
    def is_rolling(self) -> bool:
        """Whether pods of the pair still count by an older spec: they say nothing to the gates concerned."""
        digests = (self.source.sha256, *([self.subject.digest] if self.subject else []))
        return any(map(self.has_older_pods, digests))

    def has_older_pods(self, digest: str) -> bool:
        """Whether pods of this model file count by an older spec."""
        backend = self.seen.backends.get(digest)
        return backend is not None and any(backend.outdated.values())

    def is_condemned(self, digest: str) -> bool:
        """Whether it was rolled back on evidence."""
        return any(each.digest == digest for each in self.memory.condemned)

    def reason_of(self, digest: str) -> str:
        """Why it was condemned; empty if it was not."""
        return next((each.reason for each in self.memory.condemned if each.digest == digest), "")

    def may_retry(self, digest: str) -> bool:
        """Whether a person asked to trust it once more, and has not had that yet."""
        # Not while the route still carries the old annotation: it would be read as a new condemnation.
        is_remembered = not (self.seen.route and self.seen.route.condemned)
        return is_remembered and self.is_retry_wanted(digest)

    def is_retry_wanted(self, digest: str) -> bool:
        """Whether `rollout.retry` names it and was not honoured yet."""
        return self.spec.rollout.retry == digest and self.progress.retried != digest

    def is_fit(self, artifact: Artifact) -> bool:
        """Whether its verdict, and its sealed answers, let it be rolled out."""
        return is_accepted(self.spec, artifact) and not disagreement(self.spec, artifact)

    def is_ready(self, model: Source) -> bool:
        """Whether the float model has ready endpoints."""
        backend = self.seen.backends.get(model.sha256)
        return backend is not None and backend.ready > 0 and (backend.available or model == self.memory.source)

    def is_available(self, artifact: Artifact) -> bool:
        """Whether its Deployment is Available at its newest template."""
        backend = self.seen.backends.get(artifact.digest)
        return backend is not None and backend.available

    def has_capacity(self, artifact: Artifact, step: int) -> bool:
        """Whether enough of its pods are ready for `step` percent."""
        backend = self.seen.backends.get(artifact.digest)
        return backend is not None and backend.ready >= ceil(step * self.spec.runtime.replicas / 100)

    def failure_of(self, digest: str) -> str:
        """Why its pods cannot start; empty if nothing is wrong."""
        backend = self.seen.backends.get(digest)
        return backend.failure if backend else ""

    def refusal_of(self, digest: str) -> str:
        """What its pods refuse until a person changes it; empty if nothing."""
        backend = self.seen.backends.get(digest)
        return backend.refusal if backend else ""

    def was_lowered_by_hand(self, digest: str) -> bool:
        """Whether the route gives it less than it did when the status was last written, without our asking."""
        route = self.seen.route
        if route is None:
            return False
        now = route.weights.get(short(digest), 0)
        before = (each for each in self.seen.memory.weights if each.digest == digest)
        return any(each.desired >= each.observed > now for each in before)

    def decide(  # noqa: PLR0913 - the words of a decision
        self,
        stage: Stage,
        because: str,
        memory: Memory,
        *,
        reason: str = "",
        after: timedelta = UNHURRIED,
        quantize: bool = False,
        float_only: bool = False,
        coming: Source | None = None,
    ) -> Decision:
        """A decision whose target follows from what is to be remembered."""
        target = Target(
            running=self._running(memory, coming),
            shares=self._shares(memory, float_only=float_only),
            float_digest=(memory.source or coming or self.source).sha256,
            twin_digest=self._twin(memory),
            quantize=quantize,
            lacking=frozenset(need.feature for need, _ in self.seen.support.lacking),
        )
        return Decision(stage, because, target, memory, after, reason)

    def hold(self, because: str, reason: str, *, quantize: bool = False) -> Decision:
        """Held at the present weights."""
        return self.decide(Stage.HELD, because, self.memory, reason=reason, quantize=quantize, after=WATCHFUL)

    def stall(self, because: str, reason: str) -> Decision:
        """A person must act; what serves goes on serving."""
        after = timedelta(seconds=10)
        return self.decide(Stage.STALLED, because, self.memory, reason=reason, quantize=self.job_runs, after=after)

    def settle(self, stage: Stage, because: str, *, reason: str = "") -> Decision:
        """An end of the rollout; beside a stable artifact any end is Promoted."""
        return self.decide(Stage.PROMOTED if self.memory.stable else stage, because, self.memory, reason=reason)

    def frozen(self, stage: Stage, because: str, *, reason: str) -> Decision:
        """Nothing is changed, nothing removed."""
        status = self.seen.memory
        kept = Memory(
            status.source,
            status.candidate,
            status.stable,
            status.condemned,
            status.progress,
            status.provenance,
            status.front,
            merge(status.seal, self.seen.openings),
        )
        return Decision(stage, because, Target(keep_all=True), kept, reason=reason)

    def _runs(self, memory: Memory) -> bool:
        candidate = memory.candidate
        condemned = {each.digest for each in memory.condemned}
        return candidate is not None and self.is_fit(candidate) and candidate.digest not in condemned

    def _running(self, memory: Memory, coming: Source | None) -> tuple[Running, ...]:
        sources = [each for each in (memory.source, coming) if each is not None]
        artifacts = [memory.stable] if memory.stable else []
        if memory.candidate and self._runs(memory):
            artifacts.append(memory.candidate)
        floats = {each.sha256: Running("float", each.sha256, each.uri) for each in sources}
        int8s = {each.digest: _running(each) for each in artifacts}
        return (*floats.values(), *int8s.values())

    def _twin(self, memory: Memory) -> str:
        if memory.candidate and self._runs(memory):
            return memory.candidate.digest
        return memory.stable.digest if memory.stable else ""

    def _shares(self, memory: Memory, *, float_only: bool) -> tuple[Share, ...]:
        """Weights that sum to 1000, none to a variant without ready endpoints; empty: leave the route alone."""
        incumbent = self._incumbent(memory, float_only=float_only)
        if incumbent is None:
            return ()
        step = memory.progress.step if memory.candidate and self._runs(memory) and not float_only else 0
        if memory.candidate is None or not step or not self.may_carry(memory.candidate):
            return (replace(incumbent, weight=WHOLE),)
        candidate = Share("int8", memory.candidate.digest, step * WHOLE // 100)
        return tuple(each for each in (replace(incumbent, weight=WHOLE - candidate.weight), candidate) if each.weight)

    def _incumbent(self, memory: Memory, *, float_only: bool) -> Share | None:
        """The stable artifact if it has ready pods, else float if it has."""
        if memory.stable and not float_only and self.may_carry(memory.stable):
            return Share("int8", memory.stable.digest, 0)
        if memory.source and self.has_ready(memory.source.sha256):
            return Share("float", memory.source.sha256, 0)
        return None

    def may_carry(self, artifact: Artifact) -> bool:
        """Whether pods of it take requests and none refuses to serve it, as on a CPU it was not certified on."""
        return self.has_ready(artifact.digest) and not self.refusal_of(artifact.digest)

    def has_ready(self, digest: str) -> bool:
        """Whether any of its pods takes requests."""
        backend = self.seen.backends.get(digest)
        return backend is not None and backend.ready > 0


def _running(artifact: Artifact) -> Running:
    return Running("int8", artifact.digest, artifact.uri, artifact.cpu_features, artifact.portable)
