"""Keys of models to reconcile: each once, one at a time, failures later and later."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

import structlog

from quanary.controller.cluster import ClusterError
from quanary.controller.decision import ModelKey
from quanary.controller.metrics import Metrics

Work = Callable[[ModelKey], Awaitable[timedelta | None]]

FIRST_BACKOFF_SECONDS: Final = 0.2
LONGEST_BACKOFF_SECONDS: Final = 300.0
# Tenths of a wait that are left to chance, so that what failed together is not retried together.
JITTER_RATIO: Final = 0.2

log = structlog.get_logger()


class Queue:
    """Wakes `work` for keys. It returns when to look again, or None to wait for an event; what it raises is retried."""

    def __init__(self, work: Work, metrics: Metrics, chance: random.Random | None = None) -> None:
        self._work = work
        self._metrics = metrics
        self._chance = chance or random.Random()  # noqa: S311 - jitter
        self._ready: deque[ModelKey] = deque()
        self._waiting: set[ModelKey] = set()  # of _ready, or to be put there once its present run ends
        self._urgent: set[ModelKey] = set()
        self._running: dict[ModelKey, float] = {}  # since when, monotonic
        self._timers: dict[ModelKey, asyncio.TimerHandle] = {}
        self._failures: dict[ModelKey, int] = {}
        self._is_news = asyncio.Condition()
        self._is_closed = False
        self._notices: set[asyncio.Task[None]] = set()
        metrics.queue_depth.set_function(lambda: float(len(self._waiting)))

    def add(self, key: ModelKey, *, urgent: bool = False) -> None:
        """Reconcile `key` as soon as a worker is free; `urgent` before all others."""
        if urgent:
            self._urgent.add(key)
        if key in self._waiting:
            if urgent and key in self._ready:
                self._ready.remove(key)
                self._ready.appendleft(key)
            return
        self._waiting.add(key)
        if key not in self._running:
            self._enqueue(key)

    def add_all(self, keys: Iterable[ModelKey], *, urgent: bool = False) -> None:
        """`add` each."""
        for key in keys:
            self.add(key, urgent=urgent)

    def add_after(self, key: ModelKey, delay: timedelta) -> None:
        """Reconcile `key` after `delay`, or earlier if it was to be looked at earlier."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay.total_seconds()
        timer = self._timers.get(key)
        if timer and timer.when() <= at:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(at, self._ring, key)

    def longest_running_seconds(self) -> float:
        """For how long the oldest present run has gone on; 0 if none does."""
        return max((time.monotonic() - since for since in self._running.values()), default=0.0)

    async def run(self, workers: int) -> None:
        """Work until `close`; runs in progress are finished."""
        await asyncio.gather(*(self._worker() for _ in range(workers)))

    async def close(self) -> None:
        """Begin no further run."""
        self._is_closed = True
        for key in list(self._timers):
            self._cancel_timer(key)
        async with self._is_news:
            self._is_news.notify_all()

    def _ring(self, key: ModelKey) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: ModelKey) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _enqueue(self, key: ModelKey) -> None:
        if key in self._urgent:
            self._ready.appendleft(key)
        else:
            self._ready.append(key)
        notice = asyncio.get_running_loop().create_task(self._notify())
        self._notices.add(notice)
        notice.add_done_callback(self._notices.discard)

    async def _notify(self) -> None:
        async with self._is_news:
            self._is_news.notify()

    async def _worker(self) -> None:
        while True:
            async with self._is_news:
                await self._is_news.wait_for(lambda: self._ready or self._is_closed)
            if self._is_closed:
                return
            await self._run(self._ready.popleft())

    async def _run(self, key: ModelKey) -> None:
        self._waiting.discard(key)
        self._urgent.discard(key)
        # What this run finds decides when to look again.
        self._cancel_timer(key)
        self._running[key] = started = time.monotonic()
        result = "success"
        try:
            again = await self._work(key)
        except Exception as error:
            result = "failure"
            again = self._backoff(key)
            log.warning(
                "reconcile failed",
                error=str(error) or repr(error),
                retry_seconds=again.total_seconds(),
                # What the API server refused explains itself; anything else is ours to explain.
                exc_info=None if isinstance(error, ClusterError) else error,
            )
        else:
            self._failures.pop(key, None)
        finally:
            del self._running[key]
            self._metrics.reconcile_seconds.labels(result).observe(time.monotonic() - started)
        if key in self._waiting:
            self._enqueue(key)
        elif again is not None:
            self.add_after(key, again)

    def _backoff(self, key: ModelKey) -> timedelta:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        # The exponent is bounded too: a power of thousands is no float.
        seconds = min(FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 20), LONGEST_BACKOFF_SECONDS)
        return timedelta(seconds=seconds * (1 - JITTER_RATIO * self._chance.random()))
