"""The machine below the server."""

from pathlib import Path

import pytest

from quanary.server.machine import cpu_features, threads_allowed
from quanary.wire.machine import CPU_FEATURES
from tests.server import models
from tests.server.running import running


def test_this_machine_has_an_answer() -> None:
    assert threads_allowed() >= 1
    assert set(cpu_features()) == CPU_FEATURES.intersection(Path("/proc/cpuinfo").read_text().split())


@pytest.mark.parametrize(
    ("certified_on", "differs"),
    [(",".join(cpu_features()), 0), ("i8mm,avx2,asimddp", 1), ("a-feature-of-tomorrow", 1), ("", None)],
)
async def test_a_portable_artifact_from_another_cpu_is_served_and_told(
    tmp_path: Path, certified_on: str, differs: float | None
) -> None:
    async with running(models.write(tmp_path, models.classifier()), certified_on=certified_on) as server:
        counts = await server.counts("metrics")
    assert counts.get("cpu_features_differ") == differs
