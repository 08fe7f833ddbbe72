"""A real Chromium that looks at a page: at a given width, in dark or light."""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from e2e.cluster import paths
from e2e.cluster.command import run

CHROMIUM: Final = Path("/usr/bin/chromium")
DRIVER: Final = Path("/usr/bin/chromedriver")
HEIGHTS: Final = {1280: 800, 390: 844}


def install() -> None:
    """Debian's Chromium and its driver, unless they are there: 130 MB, so only who runs these tests pays for them."""
    if CHROMIUM.exists() and DRIVER.exists():
        return
    log, quiet = paths.LOGS / "chromium.log", {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"], log, env=quiet)
    run([*apt, "install", "-y", "--no-install-recommends", "chromium", "chromium-driver"], log, env=quiet)


@contextmanager
def running_browser(profile: Path) -> Iterator[Chrome]:
    """Headless; what pages say on their console is kept."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--disable-background-networking", "--disable-component-update", "--no-first-run", "--lang=en",
             f"--user-data-dir={profile}")  # fmt: skip
    for word in words:
        options.add_argument(word)
    browser = Chrome(options, Service(str(DRIVER), log_output=subprocess.DEVNULL))
    try:
        yield browser
    finally:
        browser.quit()


def look_at(browser: Chrome, page: Path, width: int, scheme: str = "light") -> None:
    """Open the page on a screen of that width."""
    metrics = {"width": width, "height": HEIGHTS[width], "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())


def photograph(browser: Chrome, to: Path) -> None:
    """All of the page, not only the screen."""
    taken: dict[str, Any] = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    to.parent.mkdir(exist_ok=True)
    to.write_bytes(base64.b64decode(taken["data"]))
