"""The comparison with the twin: answers that users got, asked again in the background of the other variant.

A user's answer is never delayed or failed by it: the queue is bounded in length and bytes, and what does not fit is
dropped and counted. A refused connection means that there is no twin now; that is neither an error nor a drop.
"""

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import structlog
from numpy.typing import NDArray

from quanary.api.names import Variant
from quanary.server.ask import Broken, NoTwin, TwinAnswer, TwinConnection
from quanary.server.comparison import Sampler, is_same, top1
from quanary.server.data_plane import Inference
from quanary.server.messages import Signature, read_response, write_request
from quanary.server.metrics import Metrics
from quanary.server.tensors import Malformed, Tensors
from quanary.wire.inference import DIGEST_HEADER, EXECUTION_HEADER, HEADER_LENGTH

ASKERS: Final = 4
QUEUE_LIMIT: Final = 64
QUEUE_BYTES_LIMIT: Final = 32 * 2**20
# A kept-alive connection survives a change of the twin Service's selector.
CONNECTION_SECONDS: Final = 10.0
ABSENT_SECONDS: Final = 1.0
# The part of a deadline that a question may wait for its turn at the twin, before the twin's own deadline runs.
TURN_SHARE: Final = 0.5
# Only a twin that is stuck takes longer than both.
GRACE_SECONDS: Final = 1.0

_SHORT_DIGEST: Final = re.compile(r"[0-9a-f]{10}")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pair:
    """One sampled answer that waits for its twin's."""

    key: bytes
    inputs: Tensors
    top1: NDArray[Any]
    execution_seconds: float
    size_bytes: int


@dataclass(frozen=True)
class TwinSettings:
    """Whom to ask, for which model, in whose name, and how long to wait."""

    url: str
    name: str
    variant: Variant
    digest: str  # own, short
    deadline_seconds: float


class _Undecided(Exception):  # noqa: N818
    """The twin said nothing of the model."""


class Comparison:
    """Sampled answers, a bounded queue and a few askers."""

    def __init__(self, settings: TwinSettings, signature: Signature, sampler: Sampler, metrics: Metrics) -> None:
        """Compare the first of `signature`'s outputs."""
        self._settings = settings
        self._path = f"/v2/models/{quote(settings.name, safe='')}/infer"
        self._signature = signature
        self._sampler = sampler
        self._metrics = metrics
        self._queue: asyncio.Queue[Pair] = asyncio.Queue(QUEUE_LIMIT)
        self._queued_bytes = 0
        self._absent_until = 0.0
        self._last_twin = ""

    def see(self, inference: Inference) -> None:
        """Take an answer that has left, if it is sampled and a twin may be there."""
        if time.monotonic() < self._absent_until or (key := self._sampler.pick(inference.inputs)) is None:
            return
        size = sum(array.nbytes for array in inference.inputs.values())
        if self._queue.full() or self._queued_bytes + size > QUEUE_BYTES_LIMIT:
            self._metrics.count_dropped()
            return
        self._queued_bytes += size
        said = top1(inference.own[self._signature.outputs[0].name])
        self._queue.put_nowait(Pair(key, inference.inputs, said, inference.execution_seconds, size))

    async def run(self) -> None:
        """Ask for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(ASKERS):
                group.create_task(self._ask_for_ever())

    async def _ask_for_ever(self) -> None:
        while True:
            with contextlib.closing(TwinConnection(self._settings.url)) as twin:
                until = time.monotonic() + CONNECTION_SECONDS
                while time.monotonic() < until:
                    pair = await self._next(until)
                    if pair is not None:
                        await self._compare(twin, pair)

    async def _next(self, until: float) -> Pair | None:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                pair = await self._queue.get()
        except TimeoutError:
            return None
        self._queued_bytes -= pair.size_bytes
        return pair

    async def _compare(self, twin: TwinConnection, pair: Pair) -> None:
        if time.monotonic() < self._absent_until:
            return
        try:
            await self._ask(twin, pair)
        except NoTwin:
            self._absent_until = time.monotonic() + ABSENT_SECONDS
        except (_Undecided, Broken, Malformed):
            self._metrics.count_dropped()
        except Exception:  # noqa: BLE001
            # A comparison that fails in an unforeseen way must not end all others.
            _log.exception("comparison failed")
            self._metrics.count_dropped()

    async def _ask(self, twin: TwinConnection, pair: Pair) -> None:
        output = self._signature.outputs[0].name
        content, head = write_request(pair.inputs, output, self._signature)
        try:
            async with asyncio.timeout(self._settings.deadline_seconds * (1 + TURN_SHARE) + GRACE_SECONDS):
                answer = await twin.post(self._path, content, {HEADER_LENGTH: str(head)})
        except TimeoutError:
            self._count_no_answer(pair, self._last_twin)
            return
        digest = _digest_of(answer)
        if digest == self._settings.digest:
            return
        self._last_twin = digest
        if answer.status == HTTPStatus.OK:
            self._count_answer(pair, digest, answer)
        else:
            self._count_failure(pair, digest, answer.status)

    def _count_answer(self, pair: Pair, twin: str, answer: TwinAnswer) -> None:
        head = answer.headers.get(HEADER_LENGTH)
        outputs = read_response(answer.body, None if head is None else head.encode())
        output = self._signature.outputs[0].name
        if output not in outputs:
            raise _Undecided
        is_slower = pair.execution_seconds > _execution_seconds(answer)
        self._count(pair, twin, is_match=is_same(pair.top1, top1(outputs[output])), is_slower=is_slower)

    def _count_failure(self, pair: Pair, twin: str, status: int) -> None:
        # An overloaded or starting twin says nothing of its model, nor does one that serves another name.
        if status == HTTPStatus.BAD_REQUEST or (status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE):
            self._count_no_answer(pair, twin)
        else:
            raise _Undecided

    def _count_no_answer(self, pair: Pair, twin: str) -> None:
        """INT8 owes float an answer: none is a mismatch, or those it fails on would go unseen."""
        if self._settings.variant != "float" or not twin:
            raise _Undecided
        self._count(pair, twin, is_match=False, is_slower=False)

    def _count(self, pair: Pair, twin: str, *, is_match: bool, is_slower: bool) -> None:
        is_new = self._sampler.is_new(twin, pair.key)
        self._metrics.count_comparison(twin, is_match=is_match, is_slower=is_slower, is_distinct=is_new)


def _digest_of(answer: TwinAnswer) -> str:
    digest = answer.headers.get(DIGEST_HEADER, "")
    # It becomes a label: nothing but a digest may.
    if not _SHORT_DIGEST.fullmatch(digest):
        raise _Undecided
    return digest


def _execution_seconds(answer: TwinAnswer) -> float:
    try:
        return float(answer.headers.get(EXECUTION_HEADER, ""))
    except ValueError:
        raise _Undecided from None
