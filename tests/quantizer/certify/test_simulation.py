"""The bench of the certificate in small: `python -m bench.quantizer.certify_simulation` is the whole of it."""

import numpy as np
import pytest

from bench.quantizer.certify_simulation import (
    CONFIDENCE,
    agreement_at_budget,
    agreement_at_half,
    at_budget,
    at_half,
    edge_disagrees,
)

TABLES = 2_000
# Of a share of 2,000 draws around 5 %.
MARGIN = 3 * np.sqrt(0.05 * 0.95 / TABLES)


@pytest.mark.parametrize(("samples", "budget"), [(200, 0.03), (500, 0.02), (1000, 0.01)])
def test_at_the_budget_at_most_one_in_twenty_passes(samples: int, budget: float) -> None:
    rows = at_budget(samples, budget, (0.0, 0.002, 0.01, 0.03), TABLES)
    for each in rows:
        assert each.exact <= 1 - CONFIDENCE
        assert each.simulated <= 1 - CONFIDENCE + MARGIN
        assert each.simulated == pytest.approx(each.exact, abs=MARGIN)
    # It is no blanket no: the error allowed is nearly spent where tables are varied.
    assert max(each.exact for each in rows) > 0.04


def test_agreement_at_the_budget_passes_at_most_once_in_twenty() -> None:
    for samples in (300, 1000):
        found = agreement_at_budget(samples, 0.01, TABLES)
        assert found.exact <= 1 - CONFIDENCE
        assert found.simulated <= 1 - CONFIDENCE + MARGIN


@pytest.mark.parametrize(("budget", "gaining"), [(0.05, 0.0), (0.05, 0.02)])
def test_the_number_named_has_the_power(budget: float, gaining: float) -> None:
    assert at_half(budget, gaining).power >= 0.8


def test_the_number_named_for_agreement_has_the_power() -> None:
    assert agreement_at_half(0.01).power >= 0.8


def test_the_simulation_judges_as_the_certificate_does() -> None:
    assert not edge_disagrees(300, 0.02, 4)
