import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.quantizer.report import charts
from quanary.quantizer.report.front import front_chart
from quanary.quantizer.report.scale import Scale, spanning
from quanary.wire.report import BatchFigures, Interval, TensorFigures
from tests.quantizer.report.reports import benefit, full, gap, hostile, minimal, search, signoff

ANY = st.floats()  # infinite and not a number, too


@given(st.lists(ANY, max_size=6), st.sampled_from([0.0, 1e-3, 5.0]), ANY)
def test_everything_lies_on_its_axis(values: list[float], knee: float, value: float) -> None:
    scale = spanning(values, knee=knee)
    assert 0 <= scale.at(value) <= 100


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from([0.0, 1e-2, 1.0]))
def test_ticks_are_few_and_within_the_axis_and_in_order(low: float, width: float, knee: float) -> None:
    scale = Scale(low, low + width, knee)
    ticks = scale.ticks()
    assert len(ticks) <= 14
    assert list(ticks) == sorted(set(ticks))
    assert all(low - 1e-6 * width <= each <= low + width * (1 + 1e-6) for each in ticks)


def test_ticks_are_round() -> None:
    assert Scale(0.87, 3.13).ticks() == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert Scale(0.0, 0.056, knee=0.0025).ticks() == (0.0, 0.001, 0.005, 0.01, 0.05)


def test_a_larger_figure_is_further_on_with_and_without_a_knee() -> None:
    for knee in (0.0, 0.01):
        places = [Scale(-1, 10, knee).at(each) for each in (-1, 0, 0.001, 0.5, 3, 10)]
        assert places == sorted(places)
        assert (places[0], places[-1]) == (0, 100)


def test_the_bound_lies_beyond_the_budget_exactly_if_it_is_larger() -> None:
    inside, outside = charts.budget_chart(signoff(0.004, 0.008)), charts.budget_chart(signoff(0.004, 0.012))
    assert inside.bound is not None
    assert outside.bound is not None
    assert inside.bound < inside.budget
    assert outside.bound > outside.budget
    assert (round(inside.used, 3), round(outside.used, 3)) == (0.8, 1.2)


def test_a_drop_that_is_no_number_is_not_drawn() -> None:
    chart = charts.budget_chart(signoff(math.nan, 0.008))
    assert chart.drop is None
    assert chart.budget > chart.zero


def test_the_front_is_drawn_among_what_was_tried() -> None:
    chart = front_chart(full())
    assert chart is not None
    assert [each.role for each in chart.front] == ["safest", "safer", "fastest"]
    assert [each.is_chosen for each in chart.front] == [False, False, True]
    assert [each.x for each in chart.front] == sorted(each.x for each in chart.front)
    # Less drop is further down, as pixels count from the top.
    assert [each.y for each in chart.front] == sorted((each.y for each in chart.front), reverse=True)
    assert all(each.y > chart.budget for each in chart.front)
    # What is of the front is drawn once.
    assert len(chart.trials) + chart.undrawn + len(chart.front) == len(search().trials)
    assert chart.undrawn == 1


def test_the_front_is_drawn_where_the_sealed_data_put_it_with_its_bound() -> None:
    report = full()
    entry = report.front[-1]
    worse = entry.model_copy(update={"signoff": signoff(0.009, 0.012), "tuning_drop": 0.0})
    unjudged = entry.model_copy(update={"signoff": None, "tuning_drop": 0.002, "certified": False})
    chart = front_chart(report.model_copy(update={"front": (worse, unjudged)}))
    assert chart is not None
    judged, other = chart.front
    assert judged.bound is not None
    assert judged.bound < chart.budget < judged.y
    assert other.bound == other.y > judged.y
    assert not other.is_certified


def test_area_follows_size() -> None:
    report = full()
    big = report.front[0].model_copy(update={"artifact": report.artifact.model_copy(update={"size_ratio": 1.0})})
    small = report.front[0].model_copy(update={"artifact": report.artifact.model_copy(update={"size_ratio": 0.25})})
    chart = front_chart(report.model_copy(update={"front": (big, small)}))
    assert chart is not None
    assert chart.front[0].radius == 2 * chart.front[1].radius


def test_without_a_search_there_is_no_front_to_draw() -> None:
    assert front_chart(minimal()) is None


def test_speeds_share_one_axis_with_one_and_the_limit() -> None:
    chart = charts.speed_chart(benefit())
    assert chart.even < chart.limit < chart.rows[1].low < chart.rows[1].ratio < chart.rows[1].high < chart.rows[0].low
    assert len(chart.rows[0].blocks) == 5


def test_an_interval_without_end_reaches_the_edge() -> None:
    endless = BatchFigures(batch=1, float_seconds=1, int8_seconds=1, ratio=1, wall_ratio=1, block_ratios=(1.0,),
                           interval=Interval(low=-math.inf, high=math.inf))  # fmt: skip
    (row,) = charts.speed_chart(benefit().model_copy(update={"batches": (endless,)})).rows
    assert (row.low, row.high) == (0, 100)


@pytest.mark.parametrize(
    ("values", "lengths"),
    [
        ((2.0, 1.0, 0.0), (100, 50, 0)),
        ((math.inf, 4.0, 2.0), (100, 100, 50)),
        ((math.nan, -1.0), (0, 0)),
        ((), ()),
    ],
)
def test_bars_are_in_percent_of_the_longest(values: tuple[float, ...], lengths: tuple[float, ...]) -> None:
    assert charts.bars(values) == lengths


def test_ranges_share_one_axis() -> None:
    tensors = [TensorFigures(name=str(high), low=-1, high=high, clipped=0) for high in (1.0, 10.0, 1000.0)]
    chart = charts.range_chart(tensors)
    assert {each.start for each in chart.bars} == {chart.bars[0].start}
    assert chart.bars[0].start < chart.zero
    widths = [each.width for each in chart.bars]
    assert widths == sorted(widths)


@given(st.lists(st.tuples(ANY, ANY), max_size=5))
def test_ranges_of_any_kind_stay_on_the_axis(edges: list[tuple[float, float]]) -> None:
    tensors = [TensorFigures(name="t", low=low, high=high, clipped=0) for low, high in edges]
    for each in charts.range_chart(tensors).bars:
        assert 0 <= each.start <= 100
        assert 0 < each.width <= 100


def test_areas_of_the_histogram_follow_the_counts() -> None:
    baseline = full().drift[0].model_copy(update={"edges": (-1.0, -0.1, 0.0, 1.0), "counts": (3, 40, 20, 80, 0)})
    chart = charts.drift_chart(baseline)
    areas = [each.width * each.height for each in chart.bars]
    assert areas[0] / areas[1] == pytest.approx(2, rel=0.02)
    assert areas[2] / areas[0] == pytest.approx(2, rel=0.02)
    assert chart.outside == 3
    assert all(each.y + each.height == pytest.approx(chart.height) for each in chart.bars)


@given(st.lists(ANY, max_size=6), st.lists(st.integers(0, 10**6), max_size=7))
def test_a_histogram_of_any_edges_stays_in_its_frame(edges: list[float], counts: list[int]) -> None:
    baseline = full().drift[0].model_copy(update={"edges": tuple(edges), "counts": tuple(counts)})
    for each in charts.drift_chart(baseline).bars:
        assert 0 <= each.x <= 100
        assert 0 <= each.x + each.width <= 100.001
        assert 0 <= each.y <= charts.DRIFT_HEIGHT


def test_the_gap_is_drawn_with_the_budget() -> None:
    chart = charts.gap_chart(gap(), 0.01)
    assert chart.kernels == 100
    assert chart.budget == pytest.approx(100 * 0.01 / 0.0122, abs=0.01)


def test_hostile_figures_are_drawn_within_bounds() -> None:
    chart = front_chart(hostile())
    assert chart is not None
    for each in (*chart.front, *chart.trials):
        assert 0 <= each.x <= 100
        assert 0 <= each.y <= chart.height
