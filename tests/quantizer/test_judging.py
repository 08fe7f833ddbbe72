"""Which of the certified artifacts is chosen: noise in speed must not decide."""

import pytest

from quanary.quantizer.inference import Model
from quanary.quantizer.judging import choose
from quanary.quantizer.made import Candidate


def candidate(model: Model, role: str, speedup: float, size_ratio: float) -> Candidate:
    return Candidate(model, role.ljust(64, "0"), role, role, size_ratio, speedup=speedup)


@pytest.mark.parametrize(
    ("objective", "figures", "chosen"),
    [
        ("latency", [(1.0, 0.8), (1.5, 0.9)], 1),  # the faster
        ("latency", [(1.0, 0.9), (1.02, 0.3)], 1),  # equally fast: the smaller
        ("latency", [(1.03, 0.9), (1.0, 0.3)], 1),
        ("latency", [(1.0, 0.3), (1.02, 0.3)], 0),  # equal in both: the safer
        ("size", [(1.5, 0.9), (1.0, 0.3)], 1),  # the smaller
        ("size", [(1.0, 0.3), (1.5, 0.3)], 1),  # equally small: the faster
        ("size", [(1.0, 0.3), (1.02, 0.301)], 0),
    ],
)
def test_the_objective_decides_then_the_other_one_then_safety(
    model: Model, objective: str, figures: list[tuple[float, float]], chosen: int
) -> None:
    front = [candidate(model, f"c{place}", *each) for place, each in enumerate(figures)]
    found = choose(front, objective)
    assert found.sha256 == front[chosen].sha256
