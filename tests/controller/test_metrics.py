from prometheus_client import generate_latest

from quanary.controller.metrics import Clock, Metrics


def test_every_series_is_there_from_the_start_or_once_it_happened() -> None:
    metrics = Metrics()
    metrics.decisions.labels("Canary").inc()
    metrics.rollbacks.labels("mismatch").inc()
    metrics.reconcile_seconds.labels("success").observe(0.1)
    text = generate_latest(metrics.registry).decode()
    for name in (
        "quanary_queue_depth 0.0",
        'quanary_reconcile_seconds_bucket{le="0.1",result="success"} 1.0',
        'quanary_decisions_total{stage="Canary"} 1.0',
        'quanary_rollbacks_total{reason="mismatch"} 1.0',
        "quanary_seconds_since_list ",
        "quanary_seconds_since_query ",
    ):
        assert f"\n{name}" in text


def test_a_clock_counts_from_the_last_success() -> None:
    now = 100.0
    clock = Clock(lambda: now)
    now = 107.0
    assert (clock.seconds(), clock.has_succeeded) == (7.0, False)
    clock.succeeded()
    now = 109.0
    assert (clock.seconds(), clock.has_succeeded) == (2.0, True)


def test_the_age_of_the_last_list_is_exported() -> None:
    metrics = Metrics()
    now = 50.0
    metrics.list_clock._now = lambda: now
    metrics.list_clock.succeeded()
    now = 80.0
    assert metrics.registry.get_sample_value("quanary_seconds_since_list") == 30.0
