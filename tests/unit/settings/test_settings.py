"""Settings from the environment, errors as people read them, and results as programs read them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from dagster_project.cli.output import print_error, print_json
from dagster_project.errors import ConfigurationError, LakehouseError, StaleCursorError
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY, Settings
from tests.unit.lakes import Message


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project" / "contracts").mkdir(parents=True)
    return tmp_path / "project"


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings.project == REPOSITORY
    assert settings.home == tmp_path / ".lakehouse"
    assert settings.lake_uri == str(tmp_path / ".lakehouse" / "lake")
    assert settings.bootstrap_servers == ""
    assert settings.dagster_home == tmp_path / ".lakehouse" / "dagster"


def test_the_folder_one_stands_in_goes_before_the_default(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert Settings.from_environment({"LAKEHOUSE_PROJECT": ""}).contracts == project / "contracts"
    assert Settings.from_environment({"LAKEHOUSE_PROJECT": str(REPOSITORY)}).project == REPOSITORY


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("s3://bucket/prefix/", "s3://bucket/prefix"), ("/data/lake/", "/data/lake"), ("/data/../lake", "/lake")],
)
def test_the_root_of_the_lake(project: Path, uri: str, expected: str) -> None:
    environment = {"LAKEHOUSE_PROJECT": str(project), "LAKEHOUSE_URI": uri, "KAFKA_BOOTSTRAP_SERVERS": "k:9092"}
    settings = Settings.from_environment(environment)
    assert (settings.lake_uri, settings.bootstrap_servers) == (expected, "k:9092")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("LAKEHOUSE_PROJECT", "/nowhere", "LAKEHOUSE_PROJECT"), ("LAKEHOUSE_URI", "gs://bucket", "LAKEHOUSE_URI")],
)
def test_settings_that_make_no_sense(project: Path, name: str, value: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({"LAKEHOUSE_PROJECT": str(project), name: value})
    assert value in refused.value.found
    assert remedy in refused.value.remedy


def test_errors_say_what_was_found_expected_and_to_do() -> None:
    assert str(LakehouseError("x is 1")) == "x is 1"
    error = StaleCursorError("x is 1", expected="2", remedy="add 1")
    assert str(error) == "x is 1\n  expected: 2\n  to do:    add 1"
    assert isinstance(error, LakehouseError)


def test_errors_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/".join(["folder"] * 40)
    print_error(LakehouseError(f"[red]schema[0][/red] {long}"))
    captured = capsys.readouterr()
    assert captured.err == f"error: [red]schema[0][/red] {long}\n"
    assert captured.out == ""


def test_results_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([Message(offset=1, payload=None), {"day": dt.date(2026, 1, 2)}])
    message, other = json.loads(capsys.readouterr().out)
    assert (message["offset"], message["payload"], message["sent"]) == (1, None, "2026-01-01 00:00:00+00:00")
    assert other == {"day": "2026-01-02"}


def test_options_of_the_store() -> None:
    environment = {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "http://localhost:1", "HOME": "/", "AWS_SESSION_TOKEN": ""}
    assert Storage.at("s3://b/p", environment).options == {
        "AWS_REGION": "r",
        "AWS_ENDPOINT_URL": "http://localhost:1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert Storage.at("/data", environment).options == {}
    assert Storage.at("s3://b/p", {}).table("gold", "m") == "s3://b/p/gold/m"
