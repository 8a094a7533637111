"""What a person sees in a browser is what the lake holds; whatever is away, the page says so and stays.

In one order, as each part goes on from where the one before has left the shop.
"""

from __future__ import annotations

import datetime as dt
import re
import sys

import pytest
from axe_core_python.selenium import Axe

from dagster_project.lake.query import query
from dagster_project.services import cache as service
from tests.integration.page.conftest import Page, Shop

NEWEST = """
    SELECT window_start, region || ' · ' || currency AS label, orders, revenue, state FROM gold.revenue_1m
    WHERE window_start > (SELECT max(window_start) FROM gold.revenue_1m) - INTERVAL 1 HOUR
"""
CELLS = """
    const plot = [...document.querySelectorAll(`[data-measure="${arguments[0]}"]`)][0];
    plot.querySelector("details").open = true;
    return [...plot.querySelectorAll("tr")].map((row) => [...row.children].map((cell) => cell.textContent));
"""
# Of the table beside a chart.
ROWS = 20


def figures(page: Page, measure: str) -> list[list[str]]:
    page.browser.execute_script(CELLS, measure)
    page.until(lambda: len(page.browser.execute_script(CELLS, measure)) > 1)
    return page.browser.execute_script(CELLS, measure)


def wanted(shop: Shop, measure: str) -> list[list[str]]:
    """The same table, from SQL over Gold."""
    found = query(NEWEST, catalog=shop.lake.catalog, storage=shop.lake.storage)
    labels = sorted(set(found["label"]))
    today = dt.datetime.now(dt.UTC).date()
    rows: list[list[str]] = [["Begin, UTC", "State", *labels]]
    for start in sorted(set(found["window_start"]), reverse=True)[:ROWS]:
        own = {row["label"]: row for row in found.filter(found["window_start"] == start).to_dicts()}
        states = {row["state"] for row in own.values()}
        state = "open" if "open" in states else "restated" if "restated" in states else "closed"
        time = f"{start:%H:%M:%S}" if start.date() == today else f"{start:%Y-%m-%d %H:%M}"
        rows.append([time, state, *(str(own[label][measure]) if label in own else "–" for label in labels)])
    return rows


def counts(shop: Shop) -> dict[str, int]:
    sql = "SELECT (SELECT count(*) FROM bronze.orders) AS Bronze, (SELECT count(*) FROM silver.orders) AS Silver"
    return query(sql, catalog=shop.lake.catalog, storage=shop.lake.storage).to_dicts()[0]


def shown(page: Page) -> dict[str, int]:
    """By station of the flow, its count."""
    names, figures = page.text(".station .name").split("\n"), page.text(".station .num").split("\n")
    return {name: int(figure.replace(",", "")) for name, figure in zip(names, figures, strict=True)}


def test_the_figures_are_those_of_the_lake(shop: Shop, page: Page) -> None:
    page.until(lambda: counts(shop).items() <= shown(page).items())
    assert "adds up" in page.text(".stream")
    for measure in ("orders", "revenue"):
        assert figures(page, measure) == wanted(shop, measure)
    assert "from the cache" in page.text("#charts")
    found = shop.lake.account()
    sums = page.text(".sums")
    for count, words in (
        (found.superseded, "superseded"),
        (found.quarantined, "quarantined"),
        (found.gaps, "without a row"),
    ):
        assert f"{count:,} {words}" in sums
    assert "budget left" in page.text("#tiles")


def test_live_figures_move(shop: Shop, page: Page) -> None:
    before = shown(page)
    shop.send(2_000)
    page.until(lambda: shown(page)["Topic"] > before["Topic"])  # in Kafka, and not in Bronze: lag
    page.until(lambda: re.search(r"[1-9][\d,]* lag", page.text(".between")) is not None)
    shop.bring()
    page.until(lambda: counts(shop).items() <= shown(page).items())
    page.until(lambda: figures(page, "revenue") == wanted(shop, "revenue"))
    assert shown(page)["Silver"] > before["Silver"]
    page.until(lambda: re.search(r"(?m)^0 lag", page.text(".between")) is not None)


def test_without_its_cache_the_page_says_stale_and_is_right(shop: Shop, page: Page) -> None:
    shop.kill_cache()
    before = dt.datetime.now(dt.UTC)
    waited = page.until(lambda: "Stale since" in page.text("#banners"))
    sys.stdout.write(f"the badge was there {waited:.1f} s after the cache was killed\n")
    said = re.search(r"Stale since (\d\d:\d\d:\d\d)", page.text("#banners"))
    assert said is not None
    since = dt.datetime.combine(before.date(), dt.time.fromisoformat(said[1]), dt.UTC)
    assert abs(since - before) < dt.timedelta(seconds=waited + 2)
    shop.send(1_000)
    shop.bring()
    page.until(lambda: figures(page, "revenue") == wanted(shop, "revenue"))
    page.until(lambda: counts(shop).items() <= shown(page).items())
    page.until(lambda: "from Gold" in page.text("#charts") and "away" in page.text("#cache-note"))

    service.revive(shop.settings, report=print)
    page.until(lambda: _published(shop) and "Stale" not in page.text("#banners"))
    page.until(lambda: "from the cache" in page.text("#charts"))
    page.until(lambda: figures(page, "revenue") == wanted(shop, "revenue"))


def _published(shop: Shop) -> bool:
    shop.publish()
    return True


@pytest.mark.parametrize(("width", "height", "theme"), [(1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light")])
def test_everybody_can_use_it(width: int, height: int, theme: str, page: Page) -> None:
    page.shape(width=width, height=height, theme=theme)
    page.until(lambda: page.browser.execute_script("return innerWidth") == width)
    found = Axe().run(page.browser)
    assert [(item["id"], [node["target"] for node in item["nodes"]]) for item in found["violations"]] == []
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_keyboard_reaches_all_and_updates_can_be_stopped(page: Page) -> None:
    page.shape(width=1440, height=900, theme="light")
    focus = "return document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
    page.browser.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached: list[str] = []
    for _ in range(12):
        page.browser.switch_to.active_element.send_keys("\ue004")
        reached.append(page.browser.execute_script(focus))
    assert {"skip", "pause", "theme"} <= set(reached)
    assert reached.count("SUMMARY") > 1
    page.browser.execute_script("document.getElementById('pause').click()")
    at = page.text("#at")
    assert (page.text("#live-word"), page.text("#pause")) == ("Paused", "Resume")
    page.browser.execute_script("document.getElementById('pause').click()")
    page.until(lambda: page.text("#live-word") == "Live" and page.text("#at") != at)


def test_the_console_has_nothing_to_complain_of(page: Page) -> None:
    assert page.complaints() == []
