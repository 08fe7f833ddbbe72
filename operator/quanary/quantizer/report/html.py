"""The report as one page that needs nothing else: no network, no script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quanary.quantizer.report import charts, words
from quanary.quantizer.report.front import front_chart
from quanary.wire.report import LayerFigures, Report, TensorFigures, printable

# Rows of a table of layers or tensors; the rest are counted, and report.json has them.
ROWS_LIMIT: Final = 30
TRIALS_LIMIT: Final = 200
NAMES_LIMIT: Final = 400

_TEMPLATES: Final = "templates"
_FILTERS: Final[dict[str, Callable[..., str]]] = {
    "number": words.number,
    "count": words.count,
    "percent": words.percent,
    "times": words.times,
    "seconds": words.seconds,
    "short": words.short,
    "plural": words.plural,
    "budget_use": words.budget_use,
    "joined": words.joined,
}


def write_html(report: Report, to: Path) -> None:
    """Write the page; it appears whole, in one rename."""
    whole = to.with_name(f".{to.name}.partial")
    whole.write_text(render(report), encoding="utf-8", errors="replace")
    whole.replace(to)


def render(report: Report) -> str:
    """The page. Names of nodes, files and samples are foreign text: everything is escaped."""
    environment = Environment(
        loader=PackageLoader(__package__ or "", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= _FILTERS
    style = Markup((Path(__file__).parent / _TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
    page = environment.get_template("page.html.jinja")
    return page.render(report=report, style=style, headline=words.HEADLINES[report.verdict], **_drawings(report))


def _finalize(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawings(report: Report) -> dict[str, Any]:
    layers = _most_sensitive(report.search.layers if report.search else ())
    tensors = _most_clipped(report.tensors)
    gap = report.gap
    return {
        "budget": charts.budget_chart(report.signoff),
        "front": front_chart(report),
        "speed": charts.speed_chart(report.benefit) if report.benefit and report.benefit.batches else None,
        "layers": tuple(zip(layers, charts.bars([each.divergence for each in layers]), strict=True)),
        "tensors": tensors,
        "ranges": charts.range_chart(tensors),
        "clipped": charts.bars([each.clipped for each in tensors]),
        "gap": charts.gap_chart(gap, report.signoff.max_drop) if gap else None,
        "drift": tuple((each, charts.drift_chart(each)) for each in report.drift),
        "rows_limit": ROWS_LIMIT,
        "trials_limit": TRIALS_LIMIT,
        "names_limit": NAMES_LIMIT,
    }


def _most_sensitive(layers: tuple[LayerFigures, ...]) -> tuple[LayerFigures, ...]:
    return tuple(sorted(layers, key=lambda each: _rank(each.divergence), reverse=True)[:ROWS_LIMIT])


def _most_clipped(tensors: tuple[TensorFigures, ...]) -> tuple[TensorFigures, ...]:
    def rank(each: TensorFigures) -> tuple[float, float]:
        return _rank(each.clipped), _rank(max(abs(each.low), abs(each.high)))

    return tuple(sorted(tensors, key=rank, reverse=True)[:ROWS_LIMIT])


def _rank(value: float) -> float:
    """What is no number is worse than anything."""
    return value if value == value else float("inf")  # noqa: PLR0124 - only NaN differs from itself
