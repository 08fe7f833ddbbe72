"""Queries for the gates' counters, and their answers as scrapes. Pure."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from quanary.api.names import Variant, short
from quanary.controller.decision import ModelKey
from quanary.controller.evidence import Scrape
from quanary.wire.metrics import (
    COMPARED,
    COMPARED_DISTINCT,
    DIGEST,
    GATE_COUNTERS,
    MISMATCHED,
    MISMATCHED_DISTINCT,
    MODEL,
    NAMESPACE,
    POD,
    REQUEST_DURATION,
    SLOWER_THAN_TWIN,
    TWIN_LABEL,
    VARIANT,
)

# Proxies on the way cut URLs at 8 KiB, and the client sends even a POST's query in the URL.
MATCHER_CHARACTERS: Final = 4000
_OF_A_TWIN: Final = frozenset({COMPARED, MISMATCHED, COMPARED_DISTINCT, MISMATCHED_DISTINCT, SLOWER_THAN_TWIN})
_IDENTITY: Final = frozenset({"__name__", NAMESPACE, POD, MODEL, DIGEST, VARIANT, TWIN_LABEL})
# What its series are called: `quanary_(compared|...)_total`, short enough to leave room for names.
_COUNTERS: Final = "|".join(re.escape(name) for name in GATE_COUNTERS)

Source = tuple[tuple[str, str], ...]


@dataclass
class Pair:
    """Which series of one model are evidence, and what was read of them already."""

    key: ModelKey
    float_digest: str
    int8_digest: str
    # The scrape job read for each pod: two that see one pod differ in time, and their mix would look like resets.
    sources: dict[str, Source] = field(default_factory=dict)
    # Up to when each pod's samples are known; older ones are not read again.
    known: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one, other = short(self.float_digest), short(self.int8_digest)
        # By the first 10 hex digits of a pod's digest: its variant, and whose comparisons are evidence.
        self.sides: Mapping[str, tuple[Variant, str]] = {one: ("float", other), other: ("int8", one)}


def batches(keys: Iterable[ModelKey]) -> Iterator[list[ModelKey]]:
    """Keys in groups whose matchers fit into a URL."""
    batch: list[ModelKey] = []
    size = 0
    for key in sorted(keys, key=lambda each: (each.namespace, each.name)):
        cost = len(key.namespace) + len(key.name) + 2
        if batch and size + cost > MATCHER_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += cost
    if batch:
        yield batch


def counters_query(keys: Iterable[ModelKey], seconds: int) -> str:
    """Raw samples of all gate counters of these models."""
    return f'{{__name__=~"{_escaped(_COUNTERS)}",{_matchers(keys)}}}[{seconds}s]'


def p99_query(keys: Iterable[ModelKey]) -> str:
    """The 99th percentile of the last minute by model and digest."""
    by = f"{NAMESPACE}, {MODEL}, {DIGEST}, le"
    return f"histogram_quantile(0.99, sum by ({by}) (rate({REQUEST_DURATION}_bucket{{{_matchers(keys)}}}[1m])))"


def _matchers(keys: Iterable[ModelKey]) -> str:
    keys = list(keys)
    namespaces = _any_of({key.namespace for key in keys})
    return f'{NAMESPACE}=~"{namespaces}",{MODEL}=~"{_any_of({key.name for key in keys})}"'


def _any_of(values: Iterable[str]) -> str:
    return _escaped("|".join(re.escape(value) for value in sorted(values)))


def _escaped(pattern: str) -> str:
    """As the inside of a PromQL string, whose escapes are a superset of JSON's."""
    return json.dumps(pattern, ensure_ascii=False)[1:-1]


def scrapes_of(series: Iterable[Mapping[str, Any]], pairs: Mapping[ModelKey, Pair]) -> dict[ModelKey, list[Scrape]]:
    """The answer to `counters_query`, by model; series of nobody's pair are left out.

    Raises:
        ValueError, TypeError, KeyError: the answer has not the shape that Prometheus gives it.
    """
    found: dict[tuple[ModelKey, str], dict[Source, _Samples]] = {}
    by_name = {(key.namespace, key.name): pair for key, pair in pairs.items()}
    for each in series:
        labels = each["metric"]
        pair = by_name.get((labels.get(NAMESPACE), labels.get(MODEL)))
        side = pair.sides.get(labels.get(DIGEST)) if pair else None
        name, pod = labels["__name__"], labels.get(POD)
        if pair is None or side is None or not pod:
            continue
        variant, twin = side
        if name in _OF_A_TWIN and labels.get(TWIN_LABEL) != twin:
            continue
        source = tuple(sorted(item for item in labels.items() if item[0] not in _IDENTITY))
        by_source = found.setdefault((pair.key, pod), {})
        samples = by_source.get(source)
        if samples is None:
            samples = by_source[source] = _Samples(variant)
        samples.take(name, each["values"], pair.known.get(pod, 0.0))
    scrapes: dict[ModelKey, list[Scrape]] = {}
    for (key, pod), by_source in found.items():
        source = _preferred(by_source, pairs[key].sources.get(pod))
        pairs[key].sources[pod] = source
        scrapes.setdefault(key, []).extend(by_source[source].scrapes(pod))
    return scrapes


def _preferred(by_source: Mapping[Source, "_Samples"], known: Source | None) -> Source:
    """The one with the most samples; the known one as long as it is still about as good."""
    if len(by_source) == 1:
        return next(iter(by_source))
    best = max(sorted(by_source), key=lambda source: by_source[source].count)
    if known is not None and known in by_source and 2 * by_source[known].count >= by_source[best].count:
        return known
    return best


class _Samples:
    """One pod as one scrape job saw it: counters by scrape time."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.count = 0  # the known ones too
        self.by_time: dict[float, dict[str, int]] = {}

    def take(self, name: str, values: Sequence[tuple[float, str]], known: float) -> None:
        self.count = max(self.count, len(values))
        for at, text in reversed(values):
            if at <= known:
                return
            value = float(text)
            if 0 <= value < math.inf:
                self.by_time.setdefault(at, {})[name] = int(value)

    def scrapes(self, pod: str) -> Iterator[Scrape]:
        for at, counters in self.by_time.items():
            yield Scrape(float(at), pod, self.variant, counters)


def p99_of(series: Iterable[Mapping[str, Any]]) -> dict[tuple[ModelKey, str], float]:
    """The answer to `p99_query` by model and the first 10 hex digits of the digest; no traffic, no entry.

    Raises:
        ValueError, TypeError, KeyError: the answer has not the shape that Prometheus gives it.
    """
    found = {}
    for each in series:
        labels, value = each["metric"], float(each["value"][1])
        if math.isfinite(value):
            found[ModelKey(labels.get(NAMESPACE, ""), labels.get(MODEL, "")), labels.get(DIGEST, "")] = value
    return found
