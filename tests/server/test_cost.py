"""What an answer costs, as a scrape sees it."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from quanary.server.cost import Cost
from quanary.wire.energy import Package


def scraped(cost: Cost) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(cost)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, sample.labels.get("source", "")): sample.value for family in families for sample in family.samples
    }


def test_energy_is_estimated_from_cpu_time_and_money_is_its_price() -> None:
    found = scraped(Cost(core_watts=5.0, core_hour_price=0.04, cpu_seconds=lambda: 1800.0, packages=()))
    assert found == {
        ("quanary_cpu_seconds_total", ""): 1800.0,
        ("quanary_energy_joules_total", "estimated"): 9000.0,
        ("quanary_cost_total", ""): 0.02,
    }


def test_what_was_not_configured_is_not_said() -> None:
    assert scraped(Cost(0.0, 0.0, cpu_seconds=lambda: 1.0, packages=())) == {("quanary_cpu_seconds_total", ""): 1.0}


def test_a_cpu_that_counts_energy_is_believed_over_any_estimate(tmp_path: Path) -> None:
    counter = tmp_path / "energy_uj"
    counter.write_text("900000")
    cost = Cost(5.0, 0.0, cpu_seconds=lambda: 1.0, packages=(Package(counter, 999_999),))
    counter.write_text("400000")  # it started anew
    assert scraped(cost)["quanary_energy_joules_total", "rapl"] == 0.5
    counter.write_text("500000")
    assert scraped(cost)["quanary_energy_joules_total", "rapl"] == 0.6


def test_this_process_uses_cpu_time() -> None:
    cost = Cost(0.0, 0.0)
    before = scraped(cost)["quanary_cpu_seconds_total", ""]
    sum(range(1_000_000))
    assert scraped(cost)["quanary_cpu_seconds_total", ""] > before
