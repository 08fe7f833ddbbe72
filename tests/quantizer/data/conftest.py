import tracemalloc
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

MEGABYTE = 1 << 20
POOLS: list[Any] = []  # Arrow's arrays outlive a test and give their memory back to where they had it from


@pytest.fixture
def little_memory() -> Iterator[None]:
    """No refusal may cost more than this; numpy's and Arrow's memory both count."""
    usual = pa.default_memory_pool()
    arrow = pa.proxy_memory_pool(usual)
    POOLS.append(arrow)
    pa.set_memory_pool(arrow)
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    pa.set_memory_pool(usual)
    assert peak < 8 * MEGABYTE
    assert (arrow.max_memory() or 0) < 16 * MEGABYTE
