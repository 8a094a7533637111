"""The catalog's pages say what the contracts say, link to each other, and let no contract write into them."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Bound, Statistic, TableRule
from dagster_project.pages.catalog import write_pages
from dagster_project.settings import REPOSITORY


class Page(HTMLParser):
    """Texts, links and tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(REPOSITORY / "contracts")


@pytest.fixture(scope="module")
def pages(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    written = write_pages(catalog, tmp_path_factory.mktemp("catalog") / "pages")
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in written}


def test_each_contract_has_a_page_and_every_link_leads_to_one(catalog: Catalog, pages: dict[str, Page]) -> None:
    assert len(pages) == 1 + len(catalog.datasets) + len(catalog.marts)
    for page in pages.values():
        assert {link for link in page.links if not link.startswith("#")} <= pages.keys()
        assert page.tags.count("h1") == page.tags.count("main") == 1
        assert "script" not in page.tags
    assert len(pages["index.html"].links) >= len(pages) - 1


def test_a_dataset_says_what_its_contract_says(pages: dict[str, Page]) -> None:
    texts = pages["dataset-orders.html"].texts
    for text in (
        "order_id",
        "items[].quantity",
        "decimal(18, 2)",
        "1 to 999",
        "exactly 36 characters",
        "one of EUR, USD, JPY",
        "event_not_before_order",
        "event_time >= ordered_at",
        "commerce.orders.v1, 8 Kafka partitions",
        "the newest version",
        "10 minutes",
        "1 hour",
        "gold/revenue_daily",
    ):
        assert text in texts, text


def test_a_mart_says_which_columns_its_columns_come_from(pages: dict[str, Page]) -> None:
    texts = pages["mart-revenue_daily.html"].texts
    assert "silver/orders" in texts
    assert "silver.orders.amount" in texts
    assert any("SELECT" in text.upper() for text in texts)


def test_a_mart_says_its_rules_and_what_a_broken_one_means(pages: dict[str, Page]) -> None:
    texts = pages["mart-ledger.html"].texts
    assert {"trial_balance", "nothing of the batch is published", "stay as they are"} <= set(texts)


def test_a_text_of_a_contract_stays_a_text(catalog: Catalog, tmp_path: Path) -> None:
    hostile = replace(catalog.datasets[0], description='<script>alert("x")</script>', owners=('"><img src=x>',))
    written = write_pages(replace(catalog, datasets=(hostile, *catalog.datasets[1:])), tmp_path)
    for path in written:
        assert not {"script", "img"} & set(Page(path.read_text(encoding="utf-8")).tags)


def test_rules_of_table_partitions_are_told(catalog: Catalog, tmp_path: Path) -> None:
    bound = Bound(operator="mustBeLessThan", values=(5.0,))
    nulls = TableRule(id="few_nulls", metric="nullValues", columns=("note",), bound=bound, percent=True)
    usual = Statistic(id="usual", kind="volume", at_least=0.5, at_most=2.0, severity="warning")
    dataset = replace(catalog.datasets[0], table_rules=(nulls,), statistics=(usual,))
    write_pages(replace(catalog, datasets=(dataset, *catalog.datasets[1:])), tmp_path)
    texts = Page((tmp_path / f"dataset-{dataset.name}.html").read_text(encoding="utf-8")).texts
    for text in (
        "few_nulls",
        "nullValues(note)",
        "less than 5 percent",
        "held back",
        "usual",
        "at least 0.5 at most 2.0",
        "counted",
    ):
        assert text in texts, text
