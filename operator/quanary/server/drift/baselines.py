"""What the artifact's report says of its calibration; a report that is not fit to be watched against is passed over."""

import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog

from quanary.server.drift.window import common_sizes
from quanary.server.messages import Signature
from quanary.wire.report import REPORT_LIMIT_BYTES, DriftBaseline, Report

INPUTS_LIMIT: Final = 64
_BINS_LIMIT: Final = 256
_INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
NUMERIC: Final = _INTEGERS | {"FP16", "FP32", "FP64"}

_log = structlog.get_logger(__name__)


def read_baselines(path: Path, digest: str, signature: Signature) -> tuple[DriftBaseline, ...]:
    """Those of the model whose digest begins with `digest`; none, and a line in the log, if that cannot be had."""
    try:
        report = _read(path)
        _require(_is_of(report, digest), f"it is of another artifact than {digest}")
        watched = _watched(report.drift, signature)
        _require(bool(watched), "it holds no baseline of a numeric input")
        _require(bool(common_sizes(watched)), "its baselines have no size of a window in common")
    except (OSError, ValueError) as error:
        _log.warning("inputs are not watched", report=str(path), reason=str(error)[:500])
        return ()
    _log.info("inputs are watched", inputs=[each.input for each in watched])
    return watched


def _read(path: Path) -> Report:
    with path.open("rb") as file:
        text = file.read(REPORT_LIMIT_BYTES + 1)
    _require(len(text) <= REPORT_LIMIT_BYTES, f"it is larger than {REPORT_LIMIT_BYTES} bytes")
    return Report.from_json(text)


def _is_of(report: Report, digest: str) -> bool:
    artifacts = (report.artifact, *(each.artifact for each in report.front))
    return bool(digest) and any(each.sha256.startswith(digest) for each in artifacts)


def _watched(baselines: Iterable[DriftBaseline], signature: Signature) -> tuple[DriftBaseline, ...]:
    numeric = {each.name for each in signature.inputs if each.datatype in NUMERIC}
    watched = tuple({each.input: each for each in baselines if each.input in numeric}.values())[:INPUTS_LIMIT]
    for each in watched:
        _check(each)
    return watched


def _check(each: DriftBaseline) -> None:
    edges, sizes = each.edges, each.psi_thresholds
    is_sane = (
        0 < len(edges) < _BINS_LIMIT
        and len(each.counts) == len(edges) + 1
        and all(math.isfinite(number) for number in (each.low, each.high, *edges))
        and all(below < above for below, above in pairwise(edges))
        and each.low <= each.high
        and min(each.counts) >= 0 < sum(each.counts)
        and bool(sizes)
        and all(size > 0 and 0 <= limit < math.inf for size, limit in sizes.items())
    )
    _require(is_sane, f"the baseline of {each.input!r} contradicts itself")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)
