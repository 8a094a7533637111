"""Takes the pictures of Dagster's UI and of the live page for the documentation, in headless Chromium (Debian: chromium, chromium-driver).

Needs a lake with something in it (`lakehouse demo`, `lakehouse produce retail`) and shows it as it is. Names of pictures as
arguments take only these.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from dagster_project.services import cache, kafka, orchestrator
from dagster_project.services.ports import free_port
from dagster_project.settings import Settings

IMAGES = Path(__file__).parent / "images"
# Loading the code location takes some seconds, more on a busy machine.
START_S = 30.0
# The graph lays itself out, and health badges arrive, after the text is there.
SETTLE_S = 6.0
# Narrower windows are phones'.
PHONE = 600
# More of a page is no picture any more.
LONGEST = 4_000
# Name, page, a text that is there once the page is, and the height of the window.
PAGES = (
    ("graph", "/locations/__repository__@lakehouse/asset-groups/aviation/lineage", "carriers_daily", 900),
    ("partitions", "/assets/bronze/flights?view=partitions&partition=2013-07-04%7CEWR", "partition_row_count", 900),
    ("materialization", "/assets/silver/orders?view=events&partition=2026-06-01%7Ceu", "rows_read", 1500),
    ("checks", "/assets/bronze/flights?view=checks", "every_offset_accounted_for", 900),
    ("event-time", "/assets/silver/page_views?view=checks&checkDetail=event_time", "silent_since", 900),
    ("ledger", "/assets/gold/ledger?view=checks&checkDetail=trial_balance", "table_partitions_measured", 900),
)

# Name, width of the window, colours that the system prefers, and whether broker and cache are away.
Look = tuple[str, int, str, bool]
LOOKS: tuple[Look, ...] = (
    ("page", 1440, "light", False),
    ("page-dark", 1440, "dark", False),
    ("page-phone", 390, "light", False),
    ("page-degraded", 1440, "light", True),
)


def main(names: Collection[str]) -> None:
    """Start a webserver on the installation's own history, and photograph it."""
    settings = Settings.from_environment()
    IMAGES.mkdir(exist_ok=True)
    pages = [page for page in PAGES if page[0] in names or not names]
    if pages:
        port = free_port()
        with orchestrator.alone(settings), orchestrator.running(settings, ui_port=port):
            wait_for(f"http://127.0.0.1:{port}/server_info")
            for name, path, text, height in pages:
                photograph(f"http://127.0.0.1:{port}{path}", text=text, height=height, target=IMAGES / f"{name}.png")
    looks = [look for look in LOOKS if look[0] in names or not names]
    if looks:
        live_page(settings, looks)


def live_page(settings: Settings, looks: Collection[Look]) -> None:
    """Photograph the live page; what is shown without its services is taken last, and they are started again."""
    port = free_port()
    command = [sys.executable, "-m", "dagster_project.cli.main", "dashboard", "--port", str(port)]
    with subprocess.Popen(command) as server:
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for(url)
            for name, width, theme, degraded in looks:
                if degraded:
                    kafka.down(settings)
                    cache.down(settings)
                text = "Lag unknown since" if degraded else "adds up"
                photograph(
                    url, text=text, height=900, target=IMAGES / f"{name}.png", width=width, theme=theme, whole=True
                )
        finally:
            server.terminate()
            if any(degraded for *_, degraded in looks):
                kafka.up(settings, report=print)
                cache.up(settings, report=print)


def wait_for(url: str) -> None:
    """Wait until a server answers.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def photograph(
    url: str, *, text: str, height: int, target: Path, width: int = 1500, theme: str = "light", whole: bool = False
) -> None:
    """Open a page, wait until it shows a text, and save it as PNG; `whole` saves all of it, however long."""
    options = Options()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    # The driver of the system's packages; selenium would otherwise look for one on the internet.
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as browser:
        preference = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", preference)
        resize(browser, width, height)
        browser.get(url)
        try:
            WebDriverWait(browser, START_S).until(lambda page: text in page.find_element(By.TAG_NAME, "body").text)
            time.sleep(SETTLE_S)
            if whole:
                length = int(browser.execute_script("return document.documentElement.scrollHeight"))
                resize(browser, width, min(length, LONGEST))
                time.sleep(1)
        finally:
            browser.save_screenshot(str(target))
    print(target)


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    """Of the page, whatever the window can be."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


if __name__ == "__main__":
    main(sys.argv[1:])
