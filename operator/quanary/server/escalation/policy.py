"""Who answers instead of an INT8 model: float where INT8 is unsure, and float alone where a request is critical.

A request never fails because INT8 was unsure: whatever keeps float from answering, INT8's own answer is given. A
critical request is the opposite: whatever keeps float from answering, INT8's answer is not given.
"""

import asyncio
import time
from typing import Final

import structlog
from msgspec.structs import replace

from quanary.server.data_plane import Headers, Inference
from quanary.server.engine import Engine, Execution, Overloaded
from quanary.server.escalation.budget import Budget
from quanary.server.escalation.confidence import Confidence
from quanary.server.escalation.lane import FloatAnswer, FloatLane, NotAnswered
from quanary.server.metrics import Metrics
from quanary.server.tensors import Tensors
from quanary.wire.inference import DIGEST_HEADER, ESCALATED_HEADER

# The part of a deadline by which float must have answered: the rest is for writing whichever answer is given.
ANSWER_SHARE: Final = 0.9
# Nobody waits for a float that is gone or stuck, but for one question now and then.
PAUSE_SECONDS: Final = 1.0
# The confidence of more than this takes milliseconds: not on the event loop, where all users' requests are.
LARGE_BYTES: Final = 2**18
BY_FLOAT: Final = b"float"

_log = structlog.get_logger(__name__)


class FloatUnavailable(Overloaded):
    """Float must answer this and cannot now."""


class Doubt:
    """Which of INT8's answers are too unsure to stand, and how many of those may be escalated."""

    def __init__(self, confidence: Confidence, below: float, budget: Budget) -> None:
        """Doubt every answer whose `confidence` is below `below`."""
        self.confidence = confidence
        self._below = below
        self._budget = budget

    async def arises(self, outputs: Tensors) -> bool:
        """Whether these are too unsure; every user's answer is shown here, once."""
        self._budget.count_request()
        if sum(each.nbytes for each in outputs.values()) > LARGE_BYTES:
            return await asyncio.to_thread(self.confidence, outputs) < self._below
        return self.confidence(outputs) < self._below

    def spend(self) -> None:
        """Escalate one more.

        Raises:
            NotAnswered: that would be too many (budget).
        """
        if not self._budget.spend():
            raise NotAnswered("budget")


class EscalateToFloat:
    """The policy of INT8 answering what it is sure of, and float the rest."""

    def __init__(self, doubt: Doubt, lane: FloatLane, deadline_seconds: float, metrics: Metrics) -> None:
        """Ask float through `lane`, within a deadline that begins with the question."""
        self._doubt = doubt
        self._lane = lane
        self._deadline = deadline_seconds
        self._metrics = metrics
        self._paused_until = 0.0

    async def answer(self, inputs: Tensors, engine: Engine) -> Inference:
        """INT8's answer, or float's if that one is unsure."""
        until = asyncio.get_running_loop().time() + self._deadline * ANSWER_SHARE
        inference = Inference.of(inputs, await engine.infer(inputs))
        if not await self._doubt.arises(inference.own):
            return inference
        try:
            answer = await self._ask(inputs, until)
        except NotAnswered as error:
            self._metrics.count_escalation_refused(error.reason)
            return inference
        self._metrics.count_escalated()
        return replace(inference, outputs=answer.outputs, headers=_by_float(answer.digest))

    async def _ask(self, inputs: Tensors, until: float) -> FloatAnswer:
        if time.monotonic() < self._paused_until:
            raise NotAnswered("absent")
        self._doubt.spend()
        try:
            return await self._lane.ask(inputs, until)
        except NotAnswered as error:
            if error.reason in {"absent", "late"}:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            raise
        except Exception:  # noqa: BLE001
            # INT8's answer is there; no fault in asking for a better one may cost it.
            _log.exception("escalation failed")
            raise NotAnswered("failed") from None


class SayDoubt:
    """The policy towards twins: INT8's own answer, and whether a user would have got float's instead."""

    def __init__(self, doubt: Doubt) -> None:
        """Say what `doubt` says, whose budget is of twins' questions alone."""
        self._doubt = doubt

    async def answer(self, inputs: Tensors, engine: Engine) -> Inference:
        """INT8's answer."""
        inference = Inference.of(inputs, await engine.infer(inputs))
        try:
            if await self._doubt.arises(inference.own):
                self._doubt.spend()
                return replace(inference, headers=((ESCALATED_HEADER.encode(), BY_FLOAT),))
        except NotAnswered:
            pass
        return inference


class FloatAlone:
    """The policy for critical requests that reach INT8 all the same: no answer rather than INT8's."""

    def __init__(self, lane: FloatLane | None, deadline_seconds: float) -> None:
        """Ask float through `lane`; None: there is no float to ask."""
        self._lane = lane
        self._deadline = deadline_seconds

    async def answer(self, inputs: Tensors, engine: Engine) -> Inference:  # noqa: ARG002 - INT8 is never asked
        """Float's answer.

        Raises:
            FloatUnavailable: it gives none now.
        """
        if self._lane is None:
            raise FloatUnavailable("a critical request: only float may answer it, and this server knows no float")
        until = asyncio.get_running_loop().time() + self._deadline * ANSWER_SHARE
        try:
            answer = await self._lane.ask(inputs, until)
        except NotAnswered as error:
            message = f"a critical request: only float may answer it, which did not: {error.reason}"
            raise FloatUnavailable(message) from None
        execution = Execution(dict(answer.outputs), 0.0)
        return replace(Inference.of(inputs, execution), headers=_by_float(answer.digest))


def _by_float(digest: str) -> Headers:
    return ((ESCALATED_HEADER.encode(), BY_FLOAT), (DIGEST_HEADER.encode(), digest.encode()))
