"""The page in a real Chromium, at desktop and phone width. Screenshots are left in out/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.webdriver import Chrome

from quanary.quantizer.report import write_html
from tests.quantizer.report.browser import install, look_at, photograph, running_browser
from tests.quantizer.report.reports import full, hostile, minimal

# The first run on a machine installs the browser.
pytestmark = pytest.mark.timeout(1800)

OUT: Final = Path(__file__).parents[3] / "out"
REPORTS: Final = {"full": full, "minimal": minimal, "hostile": hostile}

# Text whose colours are nearer than WCAG 2.2 allows (4.5, or 3 for large text), with what it says.
CONTRAST: Final = """
const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const behind = element => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const pale = [];
for (const element of document.body.querySelectorAll('*')) {
  const says = [...element.childNodes].filter(e => e.nodeType === 3 && e.data.trim()).map(e => e.data.trim()).join(' ');
  if (!says || element.tagName === 'title' || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const [a, b] = [parse(element.closest('svg') ? style.fill : style.color), behind(element)].map(luminance);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize);
  if (ratio < (size >= 24 || size >= 18.6 && style.fontWeight >= 700 ? 3 : 4.5)) pale.push([says.slice(0, 40), ratio]);
}
return pale;
"""
# What sticks out of the screen, other than what scrolls inside its frame.
OUTSIDE: Final = """
return [...document.body.querySelectorAll('*')].filter(each => !each.closest('.scroll') && !each.closest('title'))
  .filter(each => { const box = each.getBoundingClientRect();
    return box.width && (box.left < -0.5 || box.right > innerWidth + 0.5); })
  .map(each => `${each.tagName} ${each.textContent.trim().slice(0, 40)}`);
"""
# Drawn text that lies on other drawn text of the same drawing.
COLLISIONS: Final = """
const found = [];
for (const svg of document.querySelectorAll('svg')) {
  const boxes = [...svg.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
  boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 3) found.push([one, other]);
  }));
}
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    install()
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, made in REPORTS.items():
        write_html(made(), folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in REPORTS}


@pytest.fixture(params=[(name, width) for name in REPORTS for width in (1280, 390)], ids=str)
def seen(request: pytest.FixtureRequest, browser: Chrome, pages: dict[str, Path]) -> Chrome:
    """A page on a screen."""
    name, width = request.param
    look_at(browser, pages[name], width)
    photograph(browser, OUT / f"report-{name}-{width}.png")
    return browser


def test_the_page_fits_the_screen_runs_nothing_and_says_its_verdict_at_once(seen: Chrome) -> None:
    assert seen.get_log("browser") == []  # type: ignore[no-untyped-call]
    assert seen.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert "owned" not in seen.execute_script("return document.title").replace("document.title='owned'", "")
    width, page = seen.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert page <= width
    assert seen.execute_script(OUTSIDE) == []
    for part in (".badge", "h1", ".because", ".budget svg"):
        box: dict[str, Any] = seen.execute_script(
            "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", part
        )
        height = seen.execute_script("return innerHeight")
        assert box["height"] > 0
        assert 0 <= box["top"] < box["bottom"] <= height, part


@pytest.mark.parametrize("name", ["full", "minimal"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_label_lies_on_another(browser: Chrome, pages: dict[str, Path], name: str, width: int) -> None:
    look_at(browser, pages[name], width)
    assert browser.execute_script(COLLISIONS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", REPORTS)
def test_text_can_be_read_in_light_and_dark(browser: Chrome, pages: dict[str, Path], name: str, scheme: str) -> None:
    look_at(browser, pages[name], 390, scheme)
    assert browser.execute_script(CONTRAST) == []
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)"
    assert light is (scheme == "light")
    photograph(browser, OUT / f"report-{name}-390-{scheme}.png")


def test_tables_scroll_inside_their_frame_on_a_phone(browser: Chrome, pages: dict[str, Path]) -> None:
    look_at(browser, pages["full"], 390)
    wide, moved = browser.execute_script(
        "const frame = document.querySelector('#front .scroll'); frame.scrollLeft = 60;"
        "return [frame.scrollWidth > frame.clientWidth, frame.scrollLeft]"
    )
    assert wide
    assert moved == 60
