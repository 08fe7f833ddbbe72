"""Findings for people, by rich, and for machines, as JSON."""

import json
import math
from typing import Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from quanary.api.v1alpha1 import Verdict
from quanary.inspect.findings import Findings, ModelFile, SignatureState, Subject
from quanary.wire.report import DataFigures, Report, SealedSignoff, printable

COLOURS: Final = {
    Verdict.BENEFICIAL: "green",
    Verdict.SIZE_ONLY: "cyan",
    Verdict.INCONCLUSIVE: "cyan",
    Verdict.NOT_BENEFICIAL: "yellow",
    Verdict.NOT_CERTIFIABLE: "yellow",
    Verdict.OVER_BUDGET: "red",
}


def to_json(findings: Findings) -> str:
    """One document: what was found, and the whole report."""
    document = {
        "ok": not findings.problems,
        "problems": list(findings.problems),
        "verdict": findings.report.verdict.value,
        "sha256": findings.subject.figures.sha256,
        "statement": findings.statement,
        "models": [_model_json(each) for each in findings.models],
        "report": json.loads(findings.report.to_json()),
    }
    return json.dumps(document, indent=2)


def _model_json(model: ModelFile) -> dict[str, Any]:
    return {
        "file": model.figures.file,
        "sha256": model.figures.sha256,
        "found": model.found,
        "signature": model.signature.name.lower(),
        "detail": model.detail,
    }


def show(findings: Findings, console: Console) -> None:
    """Verdict first, then identity, figures, front, lineage, and what was checked."""
    report = findings.report
    colour = COLOURS[report.verdict]
    headline = Text(report.verdict.value, style=f"bold {colour}")
    console.print(
        Panel(Group(headline, plain(report.because)), border_style=colour, title="verdict", title_align="left")
    )
    if findings.problems:
        told = Group(*(plain(line) for line in findings.problems))
        console.print(Panel(told, border_style="bold red", title="not to be trusted", title_align="left"))
    for warning in report.warnings:
        console.print(Text.assemble(("warning  ", "yellow"), plain(warning)))
    parts = [_facts(findings.subject, report), _lineage(report), _checks(findings)]
    if report.front:
        parts.insert(1, _front(report))
    for part in parts:
        console.print()
        console.print(part)


def plain(text: str) -> Text:
    """Foreign text as it is: no markup, and nothing that a terminal would obey."""
    return Text(printable(text))


def number(value: float, digits: int = 4) -> str:
    """Short; a figure that was not measured is a dash."""
    return f"{value:.{digits}g}" if math.isfinite(value) else "-"


def _facts(subject: Subject, report: Report) -> RenderableType:
    grid = _grid("artifact")
    role = f"  ({subject.role} of the front)" if subject.role else ""
    grid.add_row("file", plain(subject.figures.file + role))
    grid.add_row("sha256", plain(subject.figures.sha256))
    if subject.recipe:
        grid.add_row("recipe", plain(subject.recipe))
    if subject.signoff:
        _add_signoff(grid, subject.signoff)
    if subject.figures.latency_ratio > 0:
        interval = _interval(report) if subject.figures.sha256 == report.artifact.sha256 else ""
        grid.add_row("speed", f"{number(subject.figures.latency_ratio, 3)} times the float model's{interval}")
    grid.add_row("size", f"{number(subject.figures.size_ratio, 3)} of the float model's")
    return grid


def _add_signoff(grid: Table, signoff: SealedSignoff) -> None:
    grid.add_row(
        "drop",
        plain(
            f"{number(signoff.drop)} of {signoff.metric}, at most {number(signoff.drop_upper_bound)} with "
            f"{number(100 * signoff.confidence)} % confidence; budget {number(signoff.max_drop)}"
        ),
    )
    grid.add_row("float, int8", f"{number(signoff.float_)}, {number(signoff.int8)} on {signoff.samples} sealed samples")
    grid.add_row("disagreement", f"{number(signoff.disagreement)}, at most {number(signoff.disagreement_upper_bound)}")


def _interval(report: Report) -> str:
    if not report.benefit or not report.benefit.batches:
        return ""
    interval = report.benefit.batches[0].interval
    return f" ({number(interval.low, 3)} to {number(interval.high, 3)} at batch 1)"


def _front(report: Report) -> RenderableType:
    table = Table(
        title="front, safest first; * is the chosen one",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        header_style="dim",
        pad_edge=False,
    )
    for name in ("role", "speed", "size", "drop at most", "certified", "sha256"):
        table.add_column(name, overflow="fold")
    for each in report.front:
        bound = number(each.signoff.drop_upper_bound) if each.signoff else "-"
        figures = each.artifact
        chosen = " *" if figures.sha256 == report.artifact.sha256 else ""
        cells = (
            number(figures.latency_ratio, 3),
            number(figures.size_ratio, 3),
            bound,
            "yes" if each.certified else "no",
        )
        table.add_row(plain(each.role + chosen), *cells, plain(figures.sha256[:10]))
    return table


def _lineage(report: Report) -> RenderableType:
    grid = _grid("lineage")
    grid.add_row("model", plain(report.model.sha256))
    if report.graph and report.graph.sha256:
        grid.add_row("normalised", plain(report.graph.sha256))
    if report.calibration:
        grid.add_row("calibration", _data(report.calibration))
    grid.add_row("sealed data", _data(report.validation))
    if report.openings:
        times = max(each.number for each in report.openings)
        grid.add_row("seal opened", "once" if times == 1 else f"{times} times")
    grid.add_row("made", plain(f"{report.created:%Y-%m-%d %H:%M} UTC, {_tools(report)}"))
    grid.add_row("CPU features", plain(" ".join(report.cpu_features) or "none that choose kernels"))
    return grid


def _data(figures: DataFigures) -> Text:
    return plain(f"{figures.sha256}  {figures.used} of {figures.samples} samples")


def _tools(report: Report) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(report.tools.items()))


def _checks(findings: Findings) -> RenderableType:
    grid = _grid("checks")
    for each in findings.models:
        grid.add_row(plain(each.figures.file), _digest_words(each))
        if each.found:
            grid.add_row("", _signature_words(each))
    grid.add_row("statement", Text(findings.statement, style="red" if findings.statement == "differs" else ""))
    return grid


def _digest_words(model: ModelFile) -> Text:
    if not model.found:
        return Text("not here", style="dim")
    return Text("is the file of the report", style="green") if model.is_as_reported else Text("differs", style="red")


def _signature_words(model: ModelFile) -> Text:
    style = {SignatureState.VERIFIED: "green", SignatureState.FAILED: "red"}.get(model.signature, "dim")
    return Text(
        f"signature: {model.signature.value}" if model.signature != SignatureState.UNSIGNED else "unsigned", style
    )


def _grid(title: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.title, grid.title_justify, grid.title_style = title, "left", "bold"
    grid.add_column(style="dim", min_width=12, overflow="fold")
    grid.add_column(overflow="fold")
    return grid
