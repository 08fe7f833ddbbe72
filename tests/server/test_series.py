"""The server's own counters and histograms, as a scrape sees them: like prometheus_client's."""

import math
from collections.abc import Iterator

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, enable_created_metrics, generate_latest

from quanary.server.series import Counter, Histogram

EDGES = (0.001, 0.25, 1.0, 64)


@pytest.fixture(autouse=True)
def without_created() -> Iterator[None]:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    yield
    enable_created_metrics()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("amounts", [[], [1], [3, 0, True, False]])
def test_a_counter_looks_like_the_librarys(amounts: list[int]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = Counter("c_total", "of things", ours)
    model = prometheus_client.Counter("c_total", "of things", registry=theirs)
    for each in amounts:
        own.add(each)
        model.inc(each)
    assert generate_latest(ours) == generate_latest(theirs)


@pytest.mark.parametrize("values", [[], ["a", "b", "a"], ["", 'say "hi"\n\\']])
def test_so_does_one_with_a_label(values: list[str]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = Counter("c_total", "of things", ours, "kind")
    model = prometheus_client.Counter("c_total", "of things", ("kind",), registry=theirs)
    for each in values:
        own.add(2, each)
        model.labels(each).inc(2)
    assert generate_latest(ours) == generate_latest(theirs)


@pytest.mark.parametrize("sizes", [[], [0.0, 0.001, 0.0010001, 0.25, 0.5, 1, 64, 64.5], [math.inf]])
def test_a_histogram_looks_like_the_librarys(sizes: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = Histogram("h_seconds", "of things", EDGES, ours)
    model = prometheus_client.Histogram("h_seconds", "of things", buckets=EDGES, registry=theirs)
    for each in sizes:
        own.observe(each)
        model.observe(each)
    assert generate_latest(ours) == generate_latest(theirs)


def test_so_does_a_histogram_with_a_label() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    own = Histogram("h_seconds", "of things", EDGES, ours, "twin")
    model = prometheus_client.Histogram("h_seconds", "of things", ("twin",), buckets=EDGES, registry=theirs)
    assert generate_latest(ours) == generate_latest(theirs)
    for twin, size in (("a", 0.5), ("b", 2.0), ("a", 0.1)):
        own.observe(size, twin)
        model.labels(twin).observe(size)
    assert generate_latest(ours) == generate_latest(theirs)
