"""Counters of pods into counts per bin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from quanary.api.names import Variant
from quanary.controller.evidence import Scrape
from quanary.controller.evidence.bins import Bins
from quanary.controller.evidence.gates import Tally, total
from quanary.wire.metrics import ERRORS, REQUESTS

ORIGIN = 100.0


def scrape(at: float, requests: int, pod: str = "p", variant: Variant = "int8", **more: int) -> Scrape:
    return Scrape(at, pod, variant, {REQUESTS: requests, **more})


def closed(bins: Bins, *scrapes: Scrape) -> dict[int, Tally]:
    for each in scrapes:
        bins.add(each)
    return {index: total(tallies.values()) for index, tallies in bins.close()}


def requests(tallies: dict[int, Tally], variant: Variant = "int8") -> dict[int, int]:
    return {index: tally[variant, REQUESTS] for index, tally in tallies.items() if (variant, REQUESTS) in tally}


def test_growth_belongs_to_the_bin_of_the_later_sample() -> None:
    tallies = closed(Bins(1.0, ORIGIN), scrape(99.5, 10), scrape(100.5, 13), scrape(101.5, 20), scrape(102.5, 21))
    assert requests(tallies) == {101: 3, 102: 7}


def test_a_sample_on_the_edge_belongs_to_the_bin_that_ends_there() -> None:
    assert requests(closed(Bins(1.0, ORIGIN), scrape(100, 0), scrape(101, 5))) == {101: 5}


def test_what_was_counted_before_the_origin_is_only_a_base() -> None:
    tallies = closed(Bins(1.0, ORIGIN), scrape(98.5, 1), scrape(99.5, 50), scrape(101.0, 52))
    assert requests(tallies) == {101: 2}


def test_the_first_sample_of_a_new_pod_is_only_a_base() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, scrape(99.9, 0), scrape(100.9, 1))
    tallies = closed(bins, scrape(102, 1), scrape(102, 40, "new"), scrape(103, 1), scrape(103, 45, "new"))
    assert sum(requests(tallies).values()) == 1 + 5


def test_a_counter_that_appears_on_a_known_pod_counts_from_zero() -> None:
    tallies = closed(Bins(1.0, ORIGIN), scrape(100, 5), Scrape(101, "p", "int8", {REQUESTS: 9, ERRORS: 2}))
    assert tallies[101] == {("int8", REQUESTS): 4, ("int8", ERRORS): 2}


def test_a_reset_counts_what_came_after_it() -> None:
    tallies = closed(Bins(1.0, ORIGIN), scrape(100, 50), scrape(101, 3), scrape(102, 4))
    assert requests(tallies) == {101: 3, 102: 1}


def test_a_reset_is_one_of_all_counters_of_a_pod() -> None:
    before, after = {REQUESTS: 50, ERRORS: 1}, {REQUESTS: 30, ERRORS: 4}
    tallies = closed(Bins(1.0, ORIGIN), Scrape(100, "p", "int8", before), Scrape(101, "p", "int8", after))
    assert tallies[101] == {("int8", REQUESTS): 30, ("int8", ERRORS): 4}


@settings(deadline=None, derandomize=True)
@given(values=st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_no_history_of_resets_gives_a_negative_count(values: list[int]) -> None:
    tallies = closed(Bins(1.0, ORIGIN), *(scrape(100 + i, value) for i, value in enumerate(values)))
    assert all(count > 0 for tally in tallies.values() for count in tally.values())


def test_a_bin_waits_for_every_live_pod() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, scrape(100.0, 0), scrape(100.0, 0, "late"))
    assert closed(bins, scrape(101.0, 1)) == {}
    assert requests(closed(bins, scrape(101.2, 2, "late"))) == {101: 1}


def test_a_dead_pod_holds_nothing_up_for_long() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, scrape(100.0, 0), scrape(100.0, 0, "dead"))
    assert closed(bins, *(scrape(100.0 + i, i) for i in (1, 2, 3))) == {}
    assert requests(closed(bins, scrape(104.0, 4))) == {101: 1, 102: 1, 103: 1, 104: 1}


def test_a_late_sample_is_counted_in_the_next_bin() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, scrape(100, 0), scrape(100, 0, "late"), scrape(104, 4))
    assert requests(closed(bins, scrape(101, 7, "late"), scrape(105, 4))) == {105: 7}


def test_a_known_sample_is_passed_over() -> None:
    bins = Bins(1.0, ORIGIN)
    bins.add(scrape(100, 0))
    bins.add(scrape(101, 5))
    assert bins.unseen([scrape(100, 0), scrape(101, 5), scrape(102, 6)]) == [scrape(102, 6)]


def test_a_variant_is_silent_after_three_seconds_or_three_scrapes() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, scrape(100, 0), scrape(101, 0), scrape(90, 0, "f", "float"), scrape(105, 0, "f", "float"))
    closed(bins, scrape(120, 0, "f", "float"))
    assert not bins.is_silent("int8", 104.0)
    assert bins.is_silent("int8", 104.5)
    assert not bins.is_silent("float", 160.0)
    assert bins.is_silent("float", 166.0)


def test_one_missed_scrape_does_not_stretch_patience() -> None:
    bins = Bins(1.0, ORIGIN)
    closed(bins, *(scrape(at, 0) for at in (100, 101, 102, 162)))
    assert bins.is_silent("int8", 166.0)


def test_a_variant_never_seen_is_silent() -> None:
    assert Bins(1.0, ORIGIN).is_silent("float", ORIGIN)


def test_bins_of_other_widths_lie_on_an_aligned_grid() -> None:
    tallies = closed(Bins(2.0, 101.0), scrape(101, 0), scrape(102, 1), scrape(103, 3), scrape(104, 6))
    assert requests(tallies) == {51: 1, 52: 5}
