"""Which of INT8's answers are reviewed."""

from msgspec.structs import replace

from quanary.server.data_plane import Inference
from quanary.server.engine import Engine
from quanary.server.escalation.lane import NotAnswered
from quanary.server.escalation.policy import Doubt
from quanary.server.metrics import Metrics
from quanary.server.review.delivery import REVIEWED, Reviews
from quanary.server.tensors import Tensors


class SendToReview:
    """The policy of INT8 answering everything, and saying which of its answers are reviewed."""

    def __init__(self, doubt: Doubt, reviews: Reviews, metrics: Metrics) -> None:
        """Have those answers reviewed that `doubt` picks."""
        self._doubt = doubt
        self._reviews = reviews
        self._metrics = metrics

    async def answer(self, inputs: Tensors, engine: Engine) -> Inference:
        """INT8's answer."""
        inference = Inference.of(inputs, await engine.infer(inputs))
        if not await self._doubt.arises(inference.own):
            return inference
        try:
            self._doubt.spend()
            self._reviews.require_room(inference)
        except NotAnswered as error:
            self._metrics.count_escalation_refused(error.reason)
            return inference
        self._metrics.count_escalated()
        return replace(inference, headers=REVIEWED)
