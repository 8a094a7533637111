"""Takes the pictures of Dagster's UI for the documentation, in headless Chromium (Debian: chromium, chromium-driver).

Needs a lake with something in it (`lakehouse demo`, `lakehouse produce retail`) and shows it as it is. Names of pictures as
arguments take only these.
"""

from __future__ import annotations

import shutil
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

from dagster_project.services import orchestrator
from dagster_project.services.ports import free_port
from dagster_project.settings import Settings

IMAGES = Path(__file__).parent / "images"
# Loading the code location takes some seconds, more on a busy machine.
START_S = 30.0
# The graph lays itself out, and health badges arrive, after the text is there.
SETTLE_S = 6.0
# Name, page, a text that is there once the page is, and the height of the window.
PAGES = (
    ("graph", "/locations/__repository__@lakehouse/asset-groups/aviation/lineage", "carriers_daily", 900),
    ("partitions", "/assets/bronze/flights?view=partitions&partition=2013-07-04%7CEWR", "partition_row_count", 900),
    ("materialization", "/assets/silver/orders?view=events&partition=2026-06-01%7Ceu", "rows_read", 1500),
    ("checks", "/assets/bronze/flights?view=checks", "every_offset_accounted_for", 900),
    ("event-time", "/assets/silver/page_views?view=checks&checkDetail=event_time", "silent_since", 900),
    ("ledger", "/assets/gold/ledger?view=checks&checkDetail=trial_balance", "table_partitions_measured", 900),
)


def main(names: Collection[str]) -> None:
    """Start a webserver on the installation's own history, and photograph it."""
    settings = Settings.from_environment()
    IMAGES.mkdir(exist_ok=True)
    port = free_port()
    with orchestrator.alone(settings), orchestrator.running(settings, ui_port=port):
        wait_for(f"http://127.0.0.1:{port}/server_info")
        for name, path, text, height in PAGES:
            if name in names or not names:
                photograph(f"http://127.0.0.1:{port}{path}", text=text, height=height, target=IMAGES / f"{name}.png")


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


def photograph(url: str, *, text: str, height: int, target: Path) -> None:
    """Open a page, wait until it shows a text, and save it as PNG."""
    options = Options()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        f"--window-size=1500,{height}",
    ):
        options.add_argument(argument)
    # The driver of the system's packages; selenium would otherwise look for one on the internet.
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as browser:
        browser.get(url)
        try:
            WebDriverWait(browser, START_S).until(lambda page: text in page.find_element(By.TAG_NAME, "body").text)
            time.sleep(SETTLE_S)
        finally:
            browser.save_screenshot(str(target))
    print(target)


if __name__ == "__main__":
    main(sys.argv[1:])
