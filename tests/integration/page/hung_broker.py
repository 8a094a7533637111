"""The page beside a broker that hangs. Not in the suite: `make page`."""

from __future__ import annotations

import signal

from tests.integration.page.conftest import Page, Shop
from tests.integration.page.test_browser import counts, shown


def test_without_its_broker_lag_is_unknown_and_the_budget_stays(shop: Shop, page: Page) -> None:
    lag = page.text(".between")
    broker = shop.broker()
    broker.send_signal(signal.SIGSTOP)
    try:
        page.until(lambda: "Lag unknown since" in page.text("#banners"))
        page.until(lambda: "unknown" in page.text(".tile:first-child") and "? lag" in page.text(".between"))
        assert "budget left" in page.text(".tile:first-child")
        assert "? lag" not in lag
        assert counts(shop).items() <= shown(page).items()
    finally:
        broker.send_signal(signal.SIGCONT)
    page.until(lambda: "Lag unknown" not in page.text("#banners"))
