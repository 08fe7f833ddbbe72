"""Waiting for what will come, by polling with a deadline."""

import asyncio
from collections.abc import Callable

DEADLINE_SECONDS = 30


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as `condition` holds; TimeoutError if it never does."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)
