"""What the page is made of. How it looks: test_browser.py."""

import itertools
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import override

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.report import write_html
from quanary.quantizer.report.html import ROWS_LIMIT, render
from quanary.quantizer.report.words import HEADLINES
from quanary.wire.report import Report
from tests.quantizer.report.reports import ATTACK, LONG, full, hostile, layers, minimal

REPORTS: Final = {"full": full(), "minimal": minimal(), "hostile": hostile()}
VOID: Final = frozenset({"meta", "link", "br", "img", "input", "hr"})
ADDRESSES: Final = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")


@dataclass
class Outline(HTMLParser):
    """Tags with their attributes, in order; and whether every one that was opened is closed."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    open_tags: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open_tags.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag, f"</{tag}>"

    @override
    def handle_data(self, data: str) -> None:
        self.text += f" {data}" if self.open_tags[-1:] != ["style"] else ""

    def named(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def outline(report: Report) -> Outline:
    found = Outline()
    found.feed(render(report))
    found.close()
    return found


@pytest.fixture(params=REPORTS)
def page(request: pytest.FixtureRequest) -> Outline:
    return outline(REPORTS[request.param])


def test_every_tag_is_closed(page: Outline) -> None:
    assert page.open_tags == []


def test_nothing_is_fetched_and_nothing_runs(page: Outline) -> None:
    addresses = [value for _, attributes in page.tags for key, value in attributes.items() if key in ADDRESSES]
    assert [each for each in addresses if not each.startswith("#") and each != "data:,"] == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed", "img", "form", "base"})
    assert [key for _, attributes in page.tags for key in attributes if key.startswith("on")] == []
    (policy,) = [each for each in page.named("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none';")


def test_the_style_fetches_nothing_either() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", render(full()), re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_it_can_be_read_by_ear(page: Outline) -> None:
    assert page.named("html") == [{"lang": "en"}]
    assert len(page.named("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for drawing in page.named("svg"):
        assert drawing.get("aria-hidden") == "true" or (drawing["role"] == "img" and drawing["aria-label"])
    assert len(page.named("caption")) == len(page.named("table"))
    assert {each.get("scope") for each in page.named("th")} <= {"col", "row"}
    regions = [each for each in page.named("div") if "scroll" in each.get("class", "").split()]
    assert len(regions) == len(page.named("table"))
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in regions)


def test_ids_are_unique_and_links_lead_to_them(page: Outline) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {each["href"].removeprefix("#") for each in page.named("a")} <= set(ids)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_comes_first_in_words(verdict: Verdict) -> None:
    words = outline(full().model_copy(update={"verdict": verdict})).words
    assert 0 < words.index(HEADLINES[verdict].words) < words.index("of the budget") < words.index("The front")
    assert verdict.value in words[:400]


def test_the_full_report_shows_every_part() -> None:
    words = outline(full()).words
    for part in (
        "83 % of the budget",
        "agreement drops by 0.0041, by at most 0.0083 with 95 % confidence; 0.01 is allowed",
        "3 calibration samples were excluded",
        "2.7 to 3.13",
        "batch 8",
        "93 % of the float model's",
        "0.0211 J float, 0.0074 J INT8",
        "Clopper-Pearson upper limit, exact",
        "opening 1 of these data",
        f"The {ROWS_LIMIT} first of 46 layers; the other 16 are in report.json.",
        "in float",
        "0.84 %",
        "0.0084; so many samples show 0.0031 by chance",
        "the integer kernels of this CPU saturate",
        "7-bit weights: the gap is gone",
        "61 of 150 evaluations used to minimise latency",
        "every output of sample 3 is NaN",
        "137 groups kept together; 2 duplicates found; ranges by MinMax, Percentile, Entropy",
        "12 of 24 ranges beyond 20 times the median",
        "opset 16 to 17",
        "0.21 at 100, 0.034 at 1,000, 0.0061 at 10,000 samples",
        "keepFloat lstm",
        "seed of bootstrap 7",
        "onnxruntime 1.32.0",
        "avx2",
    ):
        assert part in words, part


def test_digests_are_short_with_all_of_them_at_hand() -> None:
    report = full()
    digests = {each["title"] for each in outline(report).named("code") if each.get("class") == "digest"}
    assert report.search is not None
    assert report.calibration is not None
    assert report.graph is not None
    expected = {report.artifact.sha256, report.model.sha256, report.validation.sha256, report.calibration.sha256}
    assert digests >= expected | {report.search.tuning.sha256, report.graph.sha256}


def test_a_provided_artifact_has_no_empty_sections() -> None:
    page = outline(minimal())
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert ids == ["certificate", "lineage", "settings"]
    assert "brought along ready-made" in page.words
    assert "not measured" in page.words


def test_no_more_layers_are_listed_than_fit() -> None:
    report = full()
    assert report.search is not None
    many = report.model_copy(update={"search": report.search.model_copy(update={"layers": layers(5000)})})
    words = outline(many).words
    assert words.count("/decoder/block.") == ROWS_LIMIT - 3
    assert "the other 4,970 are in report.json" in words


def test_layers_are_ranked_whatever_their_order() -> None:
    report = full()
    assert report.search is not None
    reversed_ = report.search.model_copy(update={"layers": tuple(reversed(layers()))})
    words = outline(report.model_copy(update={"search": reversed_})).words
    assert words.index("stft Conv") < words.index("encoder.0 Conv") < words.index("/decoder/block.0/conv Conv")


def test_hostile_names_are_text() -> None:
    page = render(hostile())
    assert "<script" not in page
    assert "<img" not in page
    assert "{{7*7}}" in page  # not 49: no template in a template
    assert "&lt;script&gt;document.title=&#39;owned&#39;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "javascript:" not in "".join(each["href"] for each in outline(hostile()).named("a"))
    assert ATTACK not in page


def test_hostile_names_of_any_length_stay_in_their_place() -> None:
    assert len(render(hostile())) < 100 * len(LONG)


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    report = full().model_copy(update={"because": "a lone surrogate \ud800"})
    write_html(report, tmp_path / "report.html")
    assert "a lone surrogate" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_appears_whole(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("before")
    write_html(full(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(full())
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_the_same_report_gives_the_same_page() -> None:
    assert render(full()) == render(full())
