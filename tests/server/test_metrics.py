"""What is counted for which outcome."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quanary.server.metrics import Metrics
from quanary.wire.metrics import GATE_COUNTERS


def samples(page: bytes) -> dict[str, float]:
    families = text_string_to_metric_families(page.decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("status", "latency", "errors", "over"),
    [
        (200, 0.1, 0, 0),
        (200, 0.11, 0, 1),
        (400, 0.05, 0, 0),
        (500, 0.05, 1, 0),
        (503, 0.05, 1, 0),
        (504, 1.0, 1, 1),
        (504, 0.999, 1, 1),
        (200, 1.5, 1, 1),
    ],
)
def test_each_outcome_is_counted_once(status: int, latency: float, errors: int, over: int) -> None:
    metrics = Metrics(latency_budget_seconds=0.1, deadline_seconds=1.0)
    metrics.count_answer(status, latency, None)
    counts = samples(metrics.render_gates())
    assert counts["quanary_requests_total"] == 1
    assert counts["quanary_errors_total"] == errors
    assert counts["quanary_over_budget_total"] == over


def test_a_deadline_within_the_budget_is_over_it_all_the_same() -> None:
    metrics = Metrics(latency_budget_seconds=10, deadline_seconds=1)
    metrics.count_answer(504, 1.0, None)
    assert samples(metrics.render_gates())["quanary_over_budget_total"] == 1


def test_gates_hold_every_counter_that_every_server_has() -> None:
    metrics = Metrics(0.1, 1)
    metrics.count_comparison("0123456789", is_match=True, is_slower=False, is_distinct=True)
    of_watched_inputs = {name for name in GATE_COUNTERS if "input" in name}
    assert set(samples(metrics.render_gates())) == set(GATE_COUNTERS) - of_watched_inputs


@pytest.mark.parametrize(
    ("is_match", "is_slower", "is_distinct", "expected"),
    [
        (True, False, True, (1, 0, 1, 0, 0)),
        (False, True, True, (1, 1, 1, 1, 1)),
        (False, False, False, (1, 1, 0, 0, 0)),
    ],
)
def test_a_pair_is_counted(*, is_match: bool, is_slower: bool, is_distinct: bool, expected: tuple[int, ...]) -> None:
    metrics = Metrics(0.1, 1)
    metrics.count_comparison("0123456789", is_match=is_match, is_slower=is_slower, is_distinct=is_distinct)
    counts = samples(metrics.render_gates())
    names = ("compared", "mismatched", "compared_distinct", "mismatched_distinct", "slower_than_twin")
    assert tuple(counts[f"quanary_{name}_total"] for name in names) == expected


def test_people_get_histograms_with_an_edge_at_the_budget() -> None:
    metrics = Metrics(0.08, 1)
    metrics.describe_model(name="m", digest="d", variant="float")
    metrics.count_answer(200, 0.08, 0.01)
    page = metrics.render_all().decode()
    assert 'quanary_request_duration_seconds_bucket{le="0.08"} 1.0' in page
    assert "quanary_execution_duration_seconds_count 1.0" in page
    assert 'quanary_model_info{digest="d",name="m",variant="float"} 1.0' in page
    assert "_created" not in page


def test_no_scrape_sees_half_of_what_was_counted() -> None:
    metrics = Metrics(0.1, 1)
    for number in range(1, 101):
        metrics.count_answer(500, 0.2, None)
        counts = samples(metrics.render_gates())
        assert (counts["quanary_requests_total"], counts["quanary_errors_total"]) == (number, number)


def test_each_twin_has_all_its_series_from_its_first_pair_on() -> None:
    metrics = Metrics(0.1, 1)
    metrics.measure_divergence(0.5)
    for twin, divergence in (("a", 0.5), ("b", 0.7)):
        metrics.count_comparison(twin, is_match=True, is_slower=False, is_distinct=False)
        metrics.observe_pair(twin, is_own_match=True, divergence=divergence, execution_seconds=0.01)
    page = metrics.render_all().decode()
    for twin, within in (("a", 1), ("b", 0)):
        assert f'quanary_compared_total{{twin="{twin}"}} 1.0' in page
        for name in ("mismatched", "compared_distinct", "mismatched_distinct", "slower_than_twin"):
            assert f'quanary_{name}_total{{twin="{twin}"}} 0.0' in page
        assert f'quanary_mismatched_before_escalation_total{{twin="{twin}"}} 0.0' in page
        assert f'quanary_divergence_bucket{{le="0.5",twin="{twin}"}} {within}.0' in page
        assert f'quanary_twin_execution_duration_seconds_sum{{twin="{twin}"}} 0.01' in page
