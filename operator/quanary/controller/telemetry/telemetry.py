"""The proofs of all tracked models, advanced tick by tick. A cache: samples and the checkpoint reproduce it."""

import asyncio
import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog

from quanary.api.names import short
from quanary.api.v1alpha1 import Divergence, Escalation, Gates, InferenceServer
from quanary.controller.children.counting import server_words
from quanary.controller.decision import ModelKey
from quanary.controller.evidence import Evidence, Policy, Proof, Scrape
from quanary.controller.settings import Settings
from quanary.controller.telemetry.prometheus import Prometheus, PrometheusError
from quanary.controller.telemetry.series import Pair, batches, counters_query, p99_of, p99_query, scrapes_of

# How promoted models are read, and how much smaller their alpha is: thousands of them are watched for years.
PROMOTED_SECONDS: Final = 60.0
PROMOTED_ALPHA: Final = 0.1
P99_SECONDS: Final = 15.0
GONE_SECONDS: Final = 10.0
GONE_TICKS: Final = 3
# Samples come a little late, and a proof that knows no pod yet needs older ones as a base.
MARGIN_SECONDS: Final = 5.0
BASE_SECONDS: Final = 90.0
LONGEST_LOOK_BACK_SECONDS: Final = 700.0
# Models that were read just now share a short query; the others share a long one.
SHORT_LOOK_BACK_SECONDS: Final = 15.0

_log = structlog.get_logger()


@dataclass(frozen=True)
class Subject:
    """A model whose evidence is wanted: a pair of digests and what is known of it outside of here."""

    key: ModelKey
    uid: str
    float_digest: str
    int8_digest: str
    gates: Gates
    mismatch: float  # the mismatch gate, which follows from the artifact unless the user sets it
    steps: int  # how many the rollout has
    step: int = 0  # percent of the candidate now
    since: datetime | None = None  # when that step began
    in_progress: bool = True  # False for a promoted artifact
    input_range: float = 0.0  # the gates of the inputs; 0: they are not watched
    input_drift: float = 0.0
    escalation: Escalation | None = None
    server: InferenceServer | None = None  # what runs the models behind the front
    # By each pod of the pair that is there: what it counts or answers by an older spec. None: no pod does.
    outdated: Mapping[str, frozenset[str]] | None = None
    attempt: int = 1  # how many artifacts of this float model were tried, this one included: beta shrinks with it
    retried: bool = False  # trusted once more after it was condemned: its evidence begins anew
    checkpoint: str = ""  # out of the status, for the first time it is tracked
    compared_wanted: int = 0  # distinct comparisons at which the model should be looked at again

    @property
    def pair(self) -> str:
        """Both digests in short."""
        return f"{short(self.float_digest)}/{short(self.int8_digest)}{'/retried' if self.retried else ''}"

    @property
    def identity(self) -> tuple[str, str]:
        """Of whom what was gathered is evidence."""
        return self.uid, self.pair


@dataclass
class _Tracked:
    subject: Subject
    proof: Proof
    series: Pair
    read_at: float  # of the newest query that answered for it
    evidence: Evidence | None = None
    outcome: tuple[object, ...] = ()


class Telemetry:
    """Reads counters for all tracked models and keeps their proofs. Call `tick` from one task, every fast tick."""

    def __init__(self, prometheus: Prometheus, settings: Settings) -> None:
        self._prometheus = prometheus
        self._settings = settings
        self._tracked: dict[ModelKey, _Tracked] = {}
        self._p99: dict[tuple[ModelKey, str], float] = {}
        self._p99_at = 0.0
        self._succeeded_at: float | None = None
        self._failing_since: float | None = None

    def track(self, subject: Subject, now: datetime) -> None:
        """Begin or go on gathering evidence of a pair; idempotent. The one pair of the same model before is dropped."""
        known = self._tracked.get(subject.key)
        if known and known.subject.identity == subject.identity:
            self._revise(known, subject)
            _note_step(known.proof, subject, known.subject.step)
            known.subject = subject
            return
        proof = self._begin(subject, now.timestamp())
        if subject.outdated is not None:
            proof.note_pods(subject.outdated)
        _note_step(proof, subject, before=0)
        series = Pair(subject.key, subject.float_digest, subject.int8_digest)
        self._tracked[subject.key] = _Tracked(subject, proof, series, now.timestamp())

    def revise(self, subject: Subject) -> Evidence | None:
        """The newest evidence of this pair under a policy that may have changed; None if it is not tracked."""
        known = self._tracked.get(subject.key)
        if known is None or known.subject.identity != subject.identity:
            return None
        self._revise(known, subject)
        return known.evidence

    def _revise(self, tracked: _Tracked, subject: Subject) -> None:
        proof, policy = tracked.proof, self._policy(subject)
        is_changed = policy != proof.policy
        if is_changed:
            proof.revise(policy)
        if subject.outdated is not None:
            proof.note_pods(subject.outdated)
        # What the change takes back must not be read until Prometheus answers again.
        if is_changed and (before := tracked.evidence):
            now = self._evidence(tracked, tracked.read_at)
            tracked.evidence = replace(now, prometheus_gone=before.prometheus_gone)

    def forget(self, key: ModelKey) -> None:
        """No more evidence of this model is wanted."""
        self._tracked.pop(key, None)

    def reading(self, key: ModelKey) -> Evidence | None:
        """The newest evidence; None before the first answer."""
        tracked = self._tracked.get(key)
        return tracked.evidence if tracked else None

    def seconds_since_success(self, now: datetime) -> float:
        """How old the newest answer of Prometheus is; 0 while nothing was asked."""
        newest = self._succeeded_at if self._succeeded_at is not None else self._failing_since
        return max(now.timestamp() - newest, 0.0) if self._tracked and newest is not None else 0.0

    async def tick(self, now: datetime) -> set[ModelKey]:
        """Read what is due; the models whose outcome changed."""
        at = now.timestamp()
        due = {key: each for key, each in self._tracked.items() if _is_due(each, at)}
        for key, scrapes in (await self._answers(due, at)).items():
            # It may have been forgotten, or another pair begun, while the query was under way.
            if (tracked := due[key]) is self._tracked.get(key):
                tracked.read_at = at
                tracked.evidence = self._advanced(tracked, scrapes, at)
        return self._changed(at)

    def _advanced(self, tracked: _Tracked, scrapes: list[Scrape], at: float) -> Evidence | None:
        """What a proof says after these samples; nothing if it breaks, for one model must not stop all others."""
        try:
            tracked.proof.advance(scrapes)
            return self._evidence(tracked, at)
        except Exception:  # noqa: BLE001
            key = tracked.subject.key
            _log.exception("no evidence: its proof is broken", namespace=key.namespace, name=key.name)
            return None

    async def _answers(self, due: Mapping[ModelKey, _Tracked], at: float) -> dict[ModelKey, list[Scrape]]:
        """Samples of each model that was due; none if Prometheus fails, which is noted."""
        if not due:
            return {}
        try:
            answers = await self._read(due, at)
        except PrometheusError as error:
            if self._failing_since is None:
                self._failing_since = at
                _log.warning("Prometheus gives no answer", error=str(error))
            return {}
        if self._failing_since is not None:
            _log.info("Prometheus answers again", seconds=at - self._failing_since)
        self._succeeded_at, self._failing_since = at, None
        await self._read_p99(at)
        return answers

    def _begin(self, subject: Subject, at: float) -> Proof:
        policy = self._policy(subject)
        if subject.checkpoint:
            try:
                return Proof.restored(subject.pair, policy, subject.checkpoint, at)
            except ValueError as error:
                # Of another pair (an older candidate), or damaged: proving begins anew, in shadow.
                key = subject.key
                _log.warning("evidence begins anew", namespace=key.namespace, name=key.name, error=str(error)[:300])
        return Proof(subject.pair, policy, at)

    def _policy(self, subject: Subject) -> Policy:
        settings, gates = self._settings, subject.gates
        return Policy(
            mismatch=subject.mismatch,
            errors=gates.errors,
            latency_seconds=gates.latency.p99.total_seconds(),
            divergence=_rule(gates.divergence, subject.escalation),
            steps=subject.steps,
            input_range=subject.input_range,
            input_drift=subject.input_drift,
            escalation=subject.escalation.budget if subject.escalation else 0.0,
            unsure=_unsure(subject.escalation),
            served=_served(subject.server),
            alpha=settings.alpha * (1 if subject.in_progress else PROMOTED_ALPHA),
            # The betas of all attempts sum to the one of the settings.
            beta=settings.beta / (subject.attempt * (subject.attempt + 1)),
            tick_seconds=settings.tick.total_seconds(),
            fast_tick_seconds=settings.fast_tick.total_seconds(),
        )

    async def _read(self, due: Mapping[ModelKey, _Tracked], at: float) -> dict[ModelKey, list[Scrape]]:
        """Samples of each model that was due, by batched queries."""
        wanted = {key: _look_back(each.proof, at) for key, each in due.items()}
        short_ones = [key for key, seconds in wanted.items() if seconds <= SHORT_LOOK_BACK_SECONDS]
        long_ones = [key for key, seconds in wanted.items() if seconds > SHORT_LOOK_BACK_SECONDS]
        scrapes: dict[ModelKey, list[Scrape]] = {}
        for keys in (*batches(short_ones), *batches(long_ones)):
            query = counters_query(keys, math.ceil(max(wanted[key] for key in keys)))
            pairs = {key: _up_to_date(due[key]) for key in keys}
            found = await asyncio.to_thread(self._scrapes, query, at, pairs)
            scrapes.update({key: found.get(key, []) for key in keys})
        return scrapes

    def _scrapes(self, query: str, at: float, pairs: Mapping[ModelKey, Pair]) -> dict[ModelKey, list[Scrape]]:
        series = self._prometheus.query(query, at)
        try:
            return scrapes_of(series, pairs)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PrometheusError(f"answer: found no raw samples by series: {error!r}") from error

    async def _read_p99(self, at: float) -> None:
        if at - self._p99_at < P99_SECONDS:
            return
        self._p99_at = at
        found: dict[tuple[ModelKey, str], float] = {}
        try:
            for keys in batches(self._tracked):
                found.update(await asyncio.to_thread(self._p99s, p99_query(keys), at))
        except PrometheusError as error:
            # Only people look at it; the gates have their own counters.
            _log.warning("no 99th percentile", error=str(error))
        self._p99 = found

    def _p99s(self, query: str, at: float) -> dict[tuple[ModelKey, str], float]:
        series = self._prometheus.query(query, at)
        try:
            return p99_of(series)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise PrometheusError(f"answer: found no values by series: {error!r}") from error

    def _evidence(self, tracked: _Tracked, at: float) -> Evidence:
        subject = tracked.subject
        digests = (short(subject.int8_digest), short(subject.float_digest))
        p99 = next((self._p99[subject.key, each] for each in digests if (subject.key, each) in self._p99), None)
        return replace(tracked.proof.read(at), checkpoint=tracked.proof.checkpoint(), p99_seconds=p99)

    def _changed(self, at: float) -> set[ModelKey]:
        patience = max(GONE_SECONDS, GONE_TICKS * self._settings.tick.total_seconds())
        is_gone = self._failing_since is not None and at - self._failing_since > patience
        changed = set()
        for key, tracked in self._tracked.items():
            if tracked.evidence is None and is_gone:
                tracked.evidence = self._evidence(tracked, at)
            if tracked.evidence is None:
                continue
            tracked.evidence = replace(tracked.evidence, prometheus_gone=is_gone)
            outcome = _outcome(tracked.evidence, tracked.subject)
            if outcome != tracked.outcome:
                tracked.outcome = outcome
                changed.add(key)
        return changed


def _rule(divergence: Divergence, escalation: Escalation | None) -> str:
    """The same words for the same meaning of "answers differ", and other words for another."""
    words = []
    if divergence != Divergence():
        words.append(f"{divergence.measure} {divergence.limit!r} {_short_text(divergence.output)}")
    if escalation and escalation.to == "Float":
        # An answer that float gives instead is none that differs.
        policy = escalation.model_dump_json(include={"below", "confidence", "output", "budget"})
        words.append(f"escalated {_short_text(policy)}")
    return " ".join(words)


def _unsure(escalation: Escalation | None) -> str:
    """The same word for the same meaning of an unsure answer."""
    return _short_text(escalation.model_dump_json(include={"below", "confidence", "output"})) if escalation else ""


def _served(server: InferenceServer | None) -> str:
    """The same word for the same server."""
    return _short_text(" ".join(sorted(server_words(server.image, server.args)))) if server else "front"


def _short_text(text: str) -> str:
    # A checkpoint is small, the name of an output may be long.
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _note_step(proof: Proof, subject: Subject, before: int) -> None:
    if subject.in_progress and subject.since:
        proof.weight_changed(subject.since.timestamp(), raised=subject.step > before)


def _is_due(tracked: _Tracked, at: float) -> bool:
    if tracked.subject.in_progress:
        return True
    # Each model has its own second of the minute, so that thousands of them never come at once.
    phase = zlib.crc32(tracked.subject.uid.encode()) % int(PROMOTED_SECONDS)
    return (at + phase) // PROMOTED_SECONDS > (tracked.read_at + phase) // PROMOTED_SECONDS


def _up_to_date(tracked: _Tracked) -> Pair:
    tracked.series.known = {name: pod.at for name, pod in tracked.proof.bins.pods.items()}
    return tracked.series


def _look_back(proof: Proof, at: float) -> float:
    margin = MARGIN_SECONDS if proof.bins.pods else BASE_SECONDS
    return min(max(at - proof.bins.closed_at, 0.0) + margin, LONGEST_LOOK_BACK_SECONDS)


def _outcome(evidence: Evidence, subject: Subject) -> tuple[object, ...]:
    """All that a rule asks of it. Figures that only grow are told by the status when it is written anyway."""
    return (
        evidence.condemned_by,
        evidence.suspicious,
        evidence.retreat_by,
        evidence.proven,
        evidence.safe_now,
        evidence.fresh_safe,
        evidence.prometheus_gone,
        evidence.float_silent,
        evidence.int8_silent,
        evidence.float_slow,
        tuple(each.name for each in evidence.holding),
        int(evidence.dropped_ratio * 10),
        evidence.compared_distinct >= subject.compared_wanted,
    )
