"""The price book: list prices, a project's own, and what is wrong in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dagster_project.cost.prices import BOOK, load_prices
from dagster_project.errors import ConfigurationError
from dagster_project.settings import Settings


def book(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_package_has_list_prices() -> None:
    prices = load_prices()
    assert (prices.store.gb_month, prices.glue.dpu_hour, prices.msk.broker_hour, prices.kinesis.shard_hour) == (
        *(0.023, 0.44, 0.21, 0.015),
    )
    assert yaml.safe_load(BOOK.read_text("utf-8"))["vm"]["vcpus"] == list(prices.vm.vcpus)


def test_a_project_says_only_what_differs(tmp_path: Path) -> None:
    prices = load_prices(book(tmp_path, "store: {gb_month: 0.02}\nvm:\n  vcpus: [8, 4]\n"))
    assert (prices.store.gb_month, prices.store.thousand_puts) == (0.02, load_prices().store.thousand_puts)
    assert prices.vm.vcpus == (4, 8)
    assert prices.emr == load_prices().emr


@pytest.mark.parametrize(
    ("text", "line", "found", "expected"),
    [
        ("store:\n  gb_month: cheap\n", 2, "store.gb_month: 'cheap'", "a number, 0 or more"),
        ("store:\n  gb_month: -1\n", 2, "store.gb_month: -1", "a number, 0 or more"),
        ("store: {gb_month: .inf}\n", 1, "store.gb_month: inf", "a number, 0 or more"),
        ("store: {gb_month: .nan}\n", 1, "store.gb_month: nan", "a number, 0 or more"),
        ("store: {gb_month: yes}\n", 1, "store.gb_month: True", "a number, 0 or more"),
        ("\nglue:\n  dpu_hours: 1\n", 3, "glue.dpu_hours is no price", "dpu_hour"),
        ("glue:\n  least_dpus: 0\n", 2, "glue.least_dpus: 0", "a whole number, 1 or more"),
        ("glue: 0.44\n", 1, "glue: 0.44", "prices: dpu_hour"),
        ("glue:\n", 1, "glue: None", "prices: dpu_hour"),
        ("vm: {vcpus: []}\n", 1, "vm.vcpus: []", "a list of whole numbers"),
        ("vm: {vcpus: {a: 1}}\n", 1, "vm.vcpus: {'a': 1}", "a list of whole numbers"),
        ("lambda: {}\n", 1, "lambda is no price", "one of store, vm"),
        ("msk: {copies: 3,\n  copies: 2}\n", 2, "msk.copies a second time", "each price once"),
        ("msk: [\n", 2, "not YAML", "valid YAML"),
        ("- 1\n", 1, "no mapping", "prices under store"),
        ("", 1, "no mapping", "prices under store"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, found: str, expected: str) -> None:
    path = book(tmp_path, text)
    with pytest.raises(ConfigurationError) as raised:
        load_prices(path)
    assert raised.value.found.startswith(f"{path}:{line}: {found}")
    assert raised.value.expected.startswith(expected)
    assert "LAKEHOUSE_PRICES" in raised.value.remedy


def test_a_book_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml cannot be read"):
        load_prices(tmp_path / "nowhere.yaml")


def test_the_setting_names_the_book(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    project = {"LAKEHOUSE_PROJECT": str(tmp_path)}
    assert Settings.from_environment(project).prices is None
    assert Settings.from_environment({**project, "LAKEHOUSE_PRICES": str(tmp_path / "p")}).prices == tmp_path / "p"
