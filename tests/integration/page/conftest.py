"""The page beside real parts: a topic, a lake, a cache of its own, and a browser that looks at it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from dagster_project.dashboard.access import Access
from dagster_project.dashboard.app import application
from dagster_project.dashboard.board import Board
from dagster_project.dashboard.server import listen
from dagster_project.dashboard.watch import Watch
from dagster_project.lake import specs
from dagster_project.services import cache as service
from dagster_project.services import daemon
from dagster_project.services.ports import LOOPBACK
from dagster_project.serving.cache import Cache
from dagster_project.serving.publish import publish
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.slo.measure import measure
from dagster_project.sources.orders import Orders
from tests.integration.lake import PATIENCE, Lake

# Looks are so far apart that tests do not wait for them, and a busy machine can keep up.
LOOK_S = 0.5


@dataclass(kw_only=True)
class Shop:
    """Orders from their topic to the page."""

    lake: Lake
    settings: Settings
    cache: Cache
    sent: int = 0
    url: str = ""

    def send(self, events: int) -> None:
        self.sent += events
        source = Orders(dataset=self.lake.dataset, events=20_000, seed=7, duplicates=0.05, late=0.03, poison=0.005)
        self.lake.produce(source, limit=self.sent)

    def bring(self) -> None:
        """To Gold, and to the cache if that is there."""
        self.lake.ingest()
        self.lake.refine()
        self.lake.compute()
        self.publish()

    def publish(self) -> None:
        for mart in self.lake.catalog.marts:
            publish(mart, self.lake.table(specs.gold(mart)), cache=self.cache)

    def measure(self) -> None:
        measure(
            self.lake.catalog,
            storage=self.lake.storage,
            bootstrap=lambda: self.lake.servers,
            now=dt.datetime.now(dt.UTC),
        )

    def kill_cache(self) -> None:
        pid = service.status(self.settings).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def broker(self) -> psutil.Process:
        """The process of this session's own broker."""
        port = int(self.lake.servers.rpartition(":")[2])
        listening = (item for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN)
        pid = next(item.pid for item in listening if item.laddr and item.laddr[1] == port)
        assert pid is not None
        return psutil.Process(pid)


@pytest.fixture(scope="module")
def shop(make_lake: Callable[[str], Lake], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    lake = make_lake("orders")
    home = tmp_path_factory.mktemp("page")
    settings = Settings(home=home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    service.up(settings, report=print)
    shop = Shop(lake=lake, settings=settings, cache=Cache.of(settings))
    shop.send(3_000)
    shop.bring()
    shop.measure()
    board = Board()
    listening = listen(LOOPBACK, 0)
    watch = Watch(lake.catalog, settings=settings)
    app = application(watch, access=Access(host=LOOPBACK), board=board, every_s=LOOK_S)
    server = uvicorn.Server(
        uvicorn.Config(app, loop="asyncio", log_level="warning", access_log=False, server_header=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="page")
    thread.start()
    shop.url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
    try:
        yield shop
    finally:
        board.closed = True
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        if (found := daemon.find(str(home / "services" / "cache" / "valkey.conf"))) is not None:
            daemon.stop([found], patience=0)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A browser, and what it shows."""

    browser: WebDriver

    def text(self, selector: str) -> str:
        """The text of all elements that a selector finds."""
        script = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText).join('\\n')"
        return str(self.browser.execute_script(script, selector))

    def until(self, holds: Callable[[], bool]) -> float:
        """Wait; returns for how long."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() < began + PATIENCE, self.text("body")
            time.sleep(0.05)
        return time.monotonic() - began

    def shape(self, *, width: int, height: int, theme: str) -> None:
        """Of the window, and which colours its user prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        preference = {"name": "prefers-color-scheme", "value": theme}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})

    def complaints(self) -> list[str]:
        """What the console has had to complain of since it was asked last."""
        return [entry["message"] for entry in self.browser.get_log("browser")]


@pytest.fixture(scope="module")
def page(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = Options()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
        "--window-size=1440,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as browser:
        found = Page(browser=browser)
        browser.get(shop.url)
        found.until(lambda: "adds up" in found.text(".stream"))
        yield found
