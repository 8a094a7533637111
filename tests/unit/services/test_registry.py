"""Where the schema registry is, where none needs to run for it."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import ServiceError
from dagster_project.services import daemon, keeper, registry
from dagster_project.settings import REPOSITORY, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, project=REPOSITORY, lake_uri=str(tmp_path / "lake"), bootstrap_servers="")


def state(settings: Settings) -> Path:
    (settings.home / "services" / "registry").mkdir(parents=True)
    return settings.home / "services" / "registry" / "registry.json"


def test_one_is_needed_for_messages_that_name_their_schema(settings: Settings) -> None:
    catalog = load_catalog(REPOSITORY / "contracts")
    orders, payments = catalog.dataset("orders"), catalog.dataset("payments")

    assert not registry.is_needed([orders])
    assert registry.registry_of(orders, settings) == ""
    assert registry.is_needed([orders, payments])
    with pytest.raises(ServiceError, match="no schema registry"):
        registry.registry_of(payments, settings)


def test_one_that_is_named_is_used_and_its_password_shown_to_nobody(settings: Settings) -> None:
    named = replace(settings, schema_registry_url="https://me:secret@registry.test/v7")

    assert registry.registry_url(named) == "https://me:secret@registry.test/v7"
    assert registry.up(named, report=pytest.fail) == registry.down(named) == registry.status(named)
    shown = registry.status(named)
    assert (shown.url, shown.managed, shown.pid) == ("https://registry.test/v7", False, None)


def test_where_none_was_ever_started_there_is_nothing_to_stop(settings: Settings) -> None:
    assert registry.down(settings).url == ""
    assert not (settings.home / "services").exists()


def test_one_that_has_died_is_not_taken_for_another_process_of_its_number(settings: Settings) -> None:
    path = state(settings)
    path.write_text(f'{{"port": 20001, "pid": {os.getpid()}, "created": 0.0}}')

    found = registry.status(settings)

    assert (found.url, found.pid) == ("http://127.0.0.1:20001/apis/ccompat/v7", None)
    with pytest.raises(ServiceError, match="no schema registry"):
        registry.registry_url(settings)


def test_a_damaged_note_is_named(settings: Settings) -> None:
    state(settings).write_text("{")

    with pytest.raises(ServiceError, match=r"registry\.json is damaged"):
        registry.status(settings)


def test_one_whose_start_fails_leaves_no_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MAIN", "no.such.Program")
    monkeypatch.setattr(registry, "class_path", lambda **_: "/nowhere/*")

    with pytest.raises(ServiceError, match="ended while it started"):
        registry.up(settings, report=lambda _: None)

    assert daemon.find(registry._local(settings).marker) is None
    assert registry.status(settings).pid is None


def test_only_one_that_was_running_is_revived(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(registry, "_start", lambda *_, **__: started.append("started"))
    registry.revive(settings, report=pytest.fail)  # none was ever started
    path = state(settings)
    path.write_text('{"port": 20001}')  # stopped by `down`
    registry.revive(settings, report=pytest.fail)
    path.write_text(f'{{"port": 20001, "pid": {os.getpid()}, "created": 0.0}}')
    registry.revive(replace(settings, schema_registry_url="http://registry.test"), report=pytest.fail)
    assert started == []

    registry.revive(settings, report=lambda _: None)

    assert started == ["started"]
    registry.down(settings)
    registry.revive(settings, report=pytest.fail)
    assert started == ["started"]


def test_one_that_cannot_be_started_again_is_told_of_and_tried_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(registry, "MAIN", "no.such.Program")
    monkeypatch.setattr(registry, "class_path", lambda **_: "/nowhere/*")
    state(settings).write_text(f'{{"port": 0, "pid": {os.getpid()}, "created": 0.0}}')
    book = tmp_path / "supervisor.log"
    deadline = time.monotonic() + 60

    with keeper.kept(settings, book=book):
        while not book.exists() or book.read_text().count("ended while it started") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert "trying again in" in book.read_text()
