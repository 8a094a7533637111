"""What is asked and what is told: a store that writes over, secrets in a library's errors, answers that do not come."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dagster_project.connections import connection, everything, store
from dagster_project.connections.connection import Outcome, ask_all
from dagster_project.errors import ConfigurationError, LakeError
from dagster_project.lake.storage import Storage
from dagster_project.variables.shown import shown
from dagster_project.variables.variables import Variables
from tests.unit.settings.test_variables import CANARY, SECRETS


def test_a_store_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    assert "written only if absent" in store.try_out(Storage.at(str(tmp_path / "lake")), variable="LAKEHOUSE_URI")
    assert list((tmp_path / "lake").iterdir()) == []


class WritesOver(Storage):
    def create(self, path: str, content: bytes) -> None:
        self.filesystem().pipe_file(path, content)


class Pretends(Storage):
    """It says that the object is there, and has written over it."""

    def create(self, path: str, content: bytes) -> None:
        there = Path(path).exists()
        self.filesystem().pipe_file(path, content)
        if there:
            raise FileExistsError(path)


@pytest.mark.parametrize("kind", [WritesOver, Pretends])
def test_a_store_that_writes_over_is_refused(kind: type[Storage], tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="written over"):
        store.try_out(kind(uri=str(tmp_path)), variable="LAKEHOUSE_URI")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_done_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    with pytest.raises(LakeError, match=r"lake cannot be .*Not a directory") as refused:
        store.try_out(Storage.at(str(tmp_path / "lake")), variable="LAKEHOUSE_URI")
    assert "LAKEHOUSE_URI" in refused.value.remedy


def test_each_question_has_its_outcome_and_none_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    never = threading.Event()

    def hang() -> str:
        never.wait(10)
        return "too late"

    def fail(error: Exception) -> str:
        raise error

    refused = ConfigurationError("found s3cret", expected="no s3cret", remedy="change s3cret")
    found = ask_all(
        {
            "good": lambda: "seen s3cret",
            "none": lambda: "",
            "refused": lambda: fail(refused),
            "broken": lambda: fail(ValueError("bad s3cret")),
            "silent": hang,
        },
        secrets=["s3cret"],
    )
    never.set()
    assert found[0] == Outcome(name="good", state="ok", seen="seen ***")
    assert found[1] == Outcome(name="none", state="not configured")
    assert found[2] == Outcome(name="refused", state="wrong", found="found ***", expected="no ***", remedy="change ***")
    assert (found[3].state, found[3].found) == ("wrong", "ValueError: bad ***")
    assert (found[4].state, found[4].found) == ("wrong", "no answer within 0 s")


def test_secrets_are_known_in_every_spelling() -> None:
    variables = Variables.read({**SECRETS, "REDIS_URL": "redis://me:p%2Fw@cache"})
    assert {CANARY, f"me:{CANARY}", "me:p%2Fw", "p%2Fw", "p/w"} <= set(everything._secrets(variables))
    assert "" not in everything._secrets(Variables.read({}))


def test_a_file_with_a_typing_mistake_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_SASL_USERNAME", "AWS_ROLE_ARN", "TEAM_HOOK"):
        (tmp_path / name).write_text("x")
    monkeypatch.setenv("LAKEHOUSE_SECRETS", str(tmp_path))
    assert everything._files() == f"{tmp_path}: AWS_ROLE_ARN, KAFKA_SASL_USERNAME, TEAM_HOOK"
    (tmp_path / "KAFKA_SASL_PASWORD").write_text("x")
    with pytest.raises(ConfigurationError, match="KAFKA_SASL_PASWORD: no variable") as refused:
        everything._files()
    assert "KAFKA_SASL_PASSWORD" in refused.value.expected


def test_each_variable_is_shown_with_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "KAFKA_SASL_PASSWORD").write_text(CANARY)
    own: dict[str, Any] = {
        "LAKEHOUSE_SECRETS": str(tmp_path),
        "REDIS_URL": f"rediss://me:{CANARY}@cache:1/0",
        "LAKEHOUSE_ALLOW_PLAINTEXT": "store,kafka",
    }
    found = {one.name: one for one in shown(Variables.read(own))}
    assert (found["REDIS_URL"].value, found["REDIS_URL"].origin) == ("rediss://cache:1/0", "environment")
    assert (found["KAFKA_SASL_PASSWORD"].value, found["KAFKA_SASL_PASSWORD"].origin) == ("**********", "file")
    assert found["LAKEHOUSE_ALLOW_PLAINTEXT"].value == "kafka, store"
    assert (found["LAKEHOUSE_PROFILE"].value, found["LAKEHOUSE_PROFILE"].origin) == ("local", "default")
    assert (found["AWS_REGION"].value, found["LAKEHOUSE_PRICES"].value) == ("", "")
    assert all(one.purpose for one in found.values())


def test_variables_that_make_no_sense_are_the_only_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) & set(SECRETS):
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKEHOUSE_PROFILE", "prod")
    (found,) = everything.check()
    assert (found.name, found.state, found.found) == ("settings", "wrong", "LAKEHOUSE_PROFILE=prod")
