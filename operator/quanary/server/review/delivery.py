"""Answers that INT8 is unsure of, on their way to people or programs who look at them again.

An answer has left before its review is written. From then on the review is delivered at least once: it lies in the
spool until the sink has taken it, through outages of the sink and restarts of the process. What does not fit is the
newest, and is counted as lost; so is what the sink says it will never take.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from quanary.server.data_plane import Headers, Inference
from quanary.server.escalation.lane import NotAnswered
from quanary.server.escalation.policy import Doubt
from quanary.server.metrics import Metrics
from quanary.server.review.event import BATCH_CONTENT_TYPE, Origin, Review, batch, size_of, write_event
from quanary.server.review.sink import Sink, Undeliverable
from quanary.server.review.spool import Segment, Spool
from quanary.wire.inference import ESCALATED_HEADER

SPOOL_EVENTS_LIMIT: Final = 100_000
EVENT_BYTES_LIMIT: Final = 8 * 2**20
# In memory, before they are on the disk: seconds of them, for a disk may stall so long.
QUEUE_LIMIT: Final = 4096
QUEUE_BYTES_LIMIT: Final = 32 * 2**20
BATCH_EVENTS: Final = 100
BATCH_BYTES: Final = 2**20
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 60.0
# When the server ends: how long the sink is still offered what waits.
FAREWELL_SECONDS: Final = 5.0
# Statuses of 4xx that speak of the sink and not of the event: a person or a moment may change them.
_TRY_AGAIN: Final = frozenset({401, 403, 404, 405, 407, 408, 425, 429})

REVIEWED: Final[Headers] = ((ESCALATED_HEADER.encode(), b"review"),)
Outcome = Literal["taken", "refused", "again"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Queued:
    review: Review
    size_bytes: int


class Reviews:
    """A bounded queue in memory, the spool, and one sender."""

    def __init__(self, doubt: Doubt, origin: Origin, spool: Spool, sink: Sink, metrics: Metrics) -> None:
        """Send on what the spool holds from before, and what comes."""
        self._confidence = doubt.confidence
        self._origin = origin
        self._spool = spool
        self._sink = sink
        self._metrics = metrics
        self._queue: asyncio.Queue[_Queued | None] = asyncio.Queue()  # None: there will be no more
        self._queued = 0
        self._queued_bytes = 0
        self._arrived = asyncio.Event()
        self._ending = asyncio.Event()
        self._show()

    def require_room(self, inference: Inference) -> None:
        """See that a review of this would be taken, or count it as lost.

        Raises:
            NotAnswered: it would not: too large (large), or too much waits (full).
        """
        size = size_of(inference)
        reason = "large" if size > EVENT_BYTES_LIMIT else "" if self._has_room(size) else "full"
        if reason:
            self._metrics.count_reviews_lost(reason)
            raise NotAnswered(reason)

    def see(self, inference: Inference) -> None:
        """Take an answer that has left, if it is to be reviewed."""
        if inference.headers != REVIEWED:
            return
        review = Review(inference)
        if not self._has_room(review.size_bytes):
            self._metrics.count_reviews_lost("full")
            return
        self._queued += 1
        self._queued_bytes += review.size_bytes
        self._queue.put_nowait(_Queued(review, review.size_bytes))
        self._show()

    async def run(self) -> None:
        """Write and send until cancelled; then write what is queued, and offer the sink what waits for a moment."""
        tasks = asyncio.create_task(self._write_until_the_end()), asyncio.create_task(self._send_until_the_end())
        try:
            await asyncio.wait(tasks)
        finally:
            # Not cancelled in the middle of a write: what was queued must be on the disk.
            self._queue.put_nowait(None)
            await tasks[0]
            self._ending.set()
            self._arrived.set()
            await asyncio.wait(tasks, timeout=FAREWELL_SECONDS)
            tasks[1].cancel()
            await asyncio.wait(tasks)
            self._spool.close()
            if self._spool.lines:
                _log.warning("reviews stay in the spool", reviews=self._spool.lines)

    def _has_room(self, size: int) -> bool:
        is_queueable = self._queued < QUEUE_LIMIT and self._queued_bytes + size <= QUEUE_BYTES_LIMIT
        return is_queueable and self._spool.fits(self._queued + 1, self._queued_bytes + size)

    def _show(self) -> None:
        self._metrics.show_reviews_waiting(self._queued + self._spool.lines)

    async def _write_until_the_end(self) -> None:
        while (first := await self._queue.get()) is not None:
            queued = [first]
            size = first.size_bytes
            # Whatever came during the last write goes into one segment, so that one flush is for many.
            while len(queued) < BATCH_EVENTS and size < BATCH_BYTES and not self._queue.empty():
                if (another := self._queue.get_nowait()) is None:
                    self._queue.put_nowait(None)
                    break
                queued.append(another)
                size += another.size_bytes
            await self._write(queued)

    async def _write(self, queued: Sequence[_Queued]) -> None:
        try:
            await self._append([each.review for each in queued])
        except Exception:  # noqa: BLE001
            _log.exception("reviews could not be written")
            self._metrics.count_reviews_lost("disk", len(queued))
        self._queued -= len(queued)
        self._queued_bytes -= sum(each.size_bytes for each in queued)
        self._arrived.set()
        self._show()

    async def _append(self, reviews: Sequence[Review]) -> None:
        lines = await asyncio.to_thread(lambda: [self._line(each) for each in reviews])
        if self._spool.fits(len(lines), sum(map(len, lines))):
            await self._spool.append(lines)
        else:
            self._metrics.count_reviews_lost("full", len(lines))

    def _line(self, review: Review) -> bytes:
        return write_event(review, self._origin, self._confidence(review.inference.own))

    async def _send_until_the_end(self) -> None:
        failures = 0
        while True:
            self._arrived.clear()
            if segments := self._spool.oldest(BATCH_EVENTS, BATCH_BYTES):
                failures = 0 if await self._is_delivered(segments) else failures + 1
                self._show()
                if failures:
                    await self._pause(failures)
            elif self._ending.is_set():
                return
            else:
                await self._arrived.wait()

    async def _pause(self, failures: int) -> None:
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
        if self._ending.is_set():
            await asyncio.sleep(FIRST_PAUSE_SECONDS)
            return
        # With jitter, so that the pods that a sink failed do not come back all at once.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(longest / 2, longest)):  # noqa: S311
                await self._ending.wait()

    async def _is_delivered(self, segments: Sequence[Segment]) -> bool:
        try:
            return await self._deliver(segments)
        except Exception:  # noqa: BLE001
            # A disk that is full or gone may be there again; the reviews are as they were.
            _log.exception("reviews could not be sent")
            return False

    async def _deliver(self, segments: Sequence[Segment]) -> bool:
        """Whether the sink has been told all of them, one way or another."""
        found = [(each, lines) for each in segments if (lines := await self._read(each))]
        outcome = await self._post([line for _, lines in found for line in lines]) if found else "taken"
        if outcome == "refused":
            for each, lines in found:
                if not await self._deliver_singly(each, lines):
                    return False
            return True
        if outcome == "taken":
            for each, _ in found:
                self._spool.remove(each)
        return outcome == "taken"

    async def _deliver_singly(self, segment: Segment, lines: Sequence[bytes]) -> bool:
        """One by one: an event that the sink cannot take must not keep the others from it."""
        for number, line in enumerate(lines):
            outcome = await self._post([line])
            if outcome == "again":
                if number:
                    await self._spool.shorten(segment, lines[number:])
                return False
            if outcome == "refused":
                self._metrics.count_reviews_lost("refused")
        self._spool.remove(segment)
        return True

    async def _read(self, segment: Segment) -> list[bytes]:
        try:
            return await self._spool.read(segment)
        except OSError:
            _log.exception("reviews could not be read", path=str(segment.path))
            self._metrics.count_reviews_lost("disk", segment.lines)
            self._spool.remove(segment)
            return []

    async def _post(self, lines: list[bytes]) -> Outcome:
        try:
            status = await self._sink.post(batch(lines), BATCH_CONTENT_TYPE)
        except Undeliverable as error:
            _log.warning("the review sink cannot be reached", reason=str(error))
            return "again"
        outcome = outcome_of(status)
        if outcome != "taken":
            _log.warning("the review sink took nothing", status=status, reviews=len(lines))
        return outcome


def outcome_of(status: int) -> Outcome:
    """What a sink's answer means for the events it was sent."""
    if 200 <= status < 300:
        return "taken"
    return "refused" if 400 <= status < 500 and status not in _TRY_AGAIN else "again"
